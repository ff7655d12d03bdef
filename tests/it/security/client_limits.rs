//! `server.max_per_client` and `server.trusted_proxies`: no address takes all connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use resumen::config::ServerSettings;
use socket2::{Domain, Socket, Type};

use crate::http::{publish_readings, start_server};
use crate::support::process_usage::metric_value;
use crate::support::raw_client::RawHttpClient;
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::wait::wait_until;

fn limited_server(max_per_client: usize, proxies: &[&str]) -> TestServer {
    let server = start_server(ServerSettings {
        max_per_client,
        trusted_proxies: proxies.iter().map(|text| text.parse().unwrap()).collect(),
        ..default_server_settings()
    });
    publish_readings(&server);
    server
}

/// A connection from this address of the loopback network.
fn connect_from(server: &TestServer, address: &str) -> RawHttpClient {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let local = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0);
    socket.bind(&local.into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    RawHttpClient::from_stream(socket.into())
}

fn is_served(client: &mut RawHttpClient) -> bool {
    client.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\n");
    client
        .try_read_response("GET")
        .is_some_and(|response| response.status == 200)
}

#[test]
fn further_connections_of_a_client_are_closed() {
    let server = limited_server(3, &[]);
    let mut first: Vec<_> = (0..3).map(|_| connect_from(&server, "127.0.0.2")).collect();
    assert!(first.iter_mut().all(is_served));
    for _ in 0..5 {
        let mut refused = connect_from(&server, "127.0.0.2");
        assert!(refused.is_closed_within(Duration::from_secs(5)));
    }
    let mut other = connect_from(&server, "127.0.0.3");
    assert!(is_served(&mut other) && first.iter_mut().all(is_served));
    let page = other.get("/metrics");
    let refused = metric_value(page.text(), "resumen_http_refused_connections_total");
    assert_eq!(refused, Some(5.0));
    // A closed connection gives its place back.
    drop(first.pop());
    wait_until("a place", || {
        is_served(&mut connect_from(&server, "127.0.0.2"))
    });
}

#[test]
fn proxies_stand_for_many_clients() {
    let server = limited_server(1, &["127.0.0.4/31"]);
    for address in ["127.0.0.4", "127.0.0.5"] {
        let mut clients: Vec<_> = (0..9).map(|_| connect_from(&server, address)).collect();
        assert!(clients.iter_mut().all(is_served), "{address}");
    }
    let mut clients: Vec<_> = (0..9).map(|_| connect_from(&server, "127.0.0.6")).collect();
    assert_eq!(
        clients
            .iter_mut()
            .filter_map(|client| is_served(client).then_some(()))
            .count(),
        1
    );
}
