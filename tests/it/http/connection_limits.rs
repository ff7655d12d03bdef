//! Limits on connections: slow, silent, excess and half-closed ones, and the drain.

use std::time::{Duration, Instant};

use resumen::domain::Code;

use crate::http::{publish_readings, server_with_readings, server_without_readings, start_server};
use crate::support::test_server::{TestServer, default_server_settings};

const TIMEOUT: Duration = Duration::from_millis(400);

#[allow(
    clippy::disallowed_methods,
    reason = "the test measures the timeouts of the server"
)]
fn now() -> Instant {
    Instant::now()
}

fn short_timeout_settings() -> resumen::config::ServerSettings {
    resumen::config::ServerSettings {
        header_timeout: TIMEOUT,
        idle_timeout: TIMEOUT * 3,
        ..default_server_settings()
    }
}

/// A server with places for two connections.
fn full_server() -> TestServer {
    start_server(resumen::config::ServerSettings {
        max_connections: 2,
        ..default_server_settings()
    })
}

#[test]
fn slow_clients_are_closed() {
    let server = start_server(short_timeout_settings());
    publish_readings(&server);
    let start = now();
    let mut silent: Vec<_> = (0..50).map(|_| server.connect_client()).collect();
    let mut slow = server.connect_client();
    let mut other = server.connect_client();
    while start.elapsed() < TIMEOUT * 7 / 8 {
        slow.send("X");
        assert_eq!(other.get("/resumen").status, 200);
    }
    for client in silent.iter_mut().chain([&mut slow]) {
        assert!(client.is_closed_within(TIMEOUT * 2));
    }
    assert!(start.elapsed() < TIMEOUT * 2, "{:?}", start.elapsed());
}

#[test]
fn idle_timeout_exceeds_header_timeout() {
    let server = start_server(short_timeout_settings());
    publish_readings(&server);
    let (mut idle, mut partial) = (server.connect_client(), server.connect_client());
    idle.get("/resumen");
    partial.get("/salud");
    let start = now();
    partial.send("GET /resumen HT");
    assert!(partial.is_closed_within(TIMEOUT * 2));
    assert!(start.elapsed() < TIMEOUT * 2, "{:?}", start.elapsed());
    assert!(!idle.is_closed_within(Duration::from_millis(1)));
    assert!(idle.is_closed_within(TIMEOUT * 3));
    assert!(start.elapsed() >= TIMEOUT * 2, "{:?}", start.elapsed());
}

#[test]
fn non_reading_client_is_closed() {
    let server = start_server(short_timeout_settings());
    publish_readings(&server);
    let mut non_reading = server.connect_client();
    let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let start = now();
    // The responses exceed the buffers of both sides. Sending fails once the server has closed.
    while start.elapsed() < TIMEOUT * 20 && non_reading.try_send(&request) {}
    assert!(
        start.elapsed() < TIMEOUT * 20,
        "open after {:?}",
        start.elapsed()
    );
    assert_eq!(server.connect_client().get("/resumen").status, 200);
}

#[test]
fn pipelining_keeps_order() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    let paths = ["/resumen", "/salud", "/nothing", "/resumen?sources=btc"];
    let request = |n: usize| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", paths[n % paths.len()]);
    client.send((0..100).map(request).collect::<String>());
    for n in 0..100 {
        let response = client.read_response("GET");
        match n % paths.len() {
            0 => assert_eq!(response.json()["resultados"].as_object().unwrap().len(), 3),
            1 => assert_eq!(response.text(), r#"{"status":"ok"}"#),
            2 => assert_eq!(response.status, 404),
            _ => assert_eq!(response.json()["resultados"].as_object().unwrap().len(), 1),
        }
    }
}

#[test]
fn full_server_answers_health() {
    let server = full_server();
    publish_readings(&server);
    let (mut one, mut two) = (server.connect_client(), server.connect_client());
    one.send("GET /salud HTTP/1.1\r\n");
    two.send("GET /salud HTTP/1.1\r\n");
    for path in ["/salud", "/salud/listo", "/healthz", "/readyz"] {
        let response = server.connect_client().get(path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("connection"), Some("close"));
    }
    let start = now();
    // It waits until the other clients have stalled for a second.
    assert_eq!(server.connect_client().get("/resumen").status, 200);
    assert!(start.elapsed() < Duration::from_secs(2));
    let closed = [one, two].map(|mut client| client.is_closed_within(TIMEOUT));
    assert!(closed.contains(&true), "a client that stalls is closed");
}

#[test]
fn full_server_is_busy() {
    let server = full_server();
    let mut waiting = [(); 2].map(|()| server.connect_client());
    for client in &mut waiting {
        client.send("GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let response = server.connect_client().get("/resumen");
    assert_eq!(
        (response.status, &response.json()["code"]),
        (503, &"busy".into())
    );
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(server.connect_client().get("/salud").status, 200);
    publish_readings(&server);
    for client in &mut waiting {
        assert_eq!(client.read_response("GET").status, 200);
    }
    assert_eq!(server.connect_client().get("/resumen").status, 200);
}

#[test]
fn full_server_closes_idle_connection() {
    let server = start_server(resumen::config::ServerSettings {
        max_connections: 50,
        ..default_server_settings()
    });
    publish_readings(&server);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect_client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/salud").status, 200);
    }
    let mut busy = clients.pop().unwrap();
    busy.send("GET /resumen/stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(busy.read_head().0, 200);
    let mut late = server.connect_client();
    assert_eq!(late.get("/resumen").status, 200, "a new client is served");
    assert!(
        !busy.is_closed_within(Duration::from_millis(1)),
        "a busy connection stays open"
    );
    let closed = clients.iter_mut().filter_map(|client| {
        client
            .is_closed_within(Duration::from_millis(1))
            .then_some(())
    });
    assert!(
        (1..=10).contains(&closed.count()),
        "some idle connections are closed, not all"
    );
}

#[test]
fn full_server_closes_silent_connection() {
    let settings = resumen::config::ServerSettings {
        header_timeout: Duration::from_secs(600),
        ..default_server_settings()
    };
    let server = start_server(resumen::config::ServerSettings {
        max_connections: 20,
        ..settings
    });
    publish_readings(&server);
    let silent: Vec<_> = (0..40).map(|_| server.connect_client()).collect();
    let mut late = server.connect_client();
    assert_eq!(
        late.get("/salud").status,
        200,
        "a health check is served behind silent connections"
    );
    drop(silent);
}

#[test]
fn half_closed_client_is_served() {
    let server = server_without_readings();
    let mut client = server.connect_client();
    client.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\nGET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    client.shutdown_write();
    assert_eq!(client.read_response("GET").status, 200);
    // The second request waits for the first readings.
    publish_readings(&server);
    assert_eq!(client.read_response("GET").status, 200);
    assert_eq!(client.try_read_response("GET"), None);
}

#[test]
fn http10_keep_alive_is_opt_in() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    client.send("GET /salud HTTP/1.0\r\n\r\n");
    assert_eq!(client.read_responses_to_end("GET").len(), 1);
    let mut client = server.connect_client();
    for _ in 0..2 {
        client.send("GET /salud HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.read_response("GET");
        assert_eq!(response.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn drain_finishes_requests() {
    let mut server = server_without_readings();
    let (mut busy, mut idle) = (server.connect_client(), server.connect_client());
    busy.send("GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.get("/salud");
    server.drain.cancel();
    assert!(idle.is_closed_within(Duration::from_secs(2)));
    assert!(!busy.is_closed_within(Duration::from_millis(1)));
    publish_readings(&server);
    let response = busy.read_response("GET");
    assert_eq!(
        (response.status, response.header("connection")),
        (200, Some("close"))
    );
    assert!(server.stop(Duration::from_secs(2)).is_some());
}

#[test]
fn drain_sends_connection_close() {
    let mut server = server_with_readings();
    let mut kept = server.connect_client();
    assert_eq!(kept.get("/salud/listo").status, 200);
    server.drain.cancel();
    // The listener accepts for another 250 ms.
    let (mut new, mut poller) = (server.connect_client(), server.connect_client());
    for client in [&mut kept, &mut new] {
        let last = std::iter::repeat_with(|| client.get("/salud/listo"))
            .find(|ready| ready.status != 200)
            .unwrap();
        assert_eq!(
            (last.status, &last.json()["code"]),
            (503, &"draining".into())
        );
        assert_eq!(last.header("connection"), Some("close"));
        assert_eq!(client.try_read_response("GET"), None);
    }
    let response = poller.get("/resumen");
    assert_eq!(
        (response.status, response.header("connection")),
        (200, Some("close"))
    );
    assert!(server.stop(Duration::from_secs(2)).is_some());
    assert!(
        std::net::TcpStream::connect(server.address).is_err(),
        "the listener is closed"
    );
}

#[test]
fn drain_ends_within_grace() {
    let mut server = start_server(resumen::config::ServerSettings {
        shutdown_grace: TIMEOUT * 2,
        ..default_server_settings()
    });
    server.publish_failure("btc", Code::Timeout, "");
    let mut stuck = server.connect_client();
    stuck.send("GET /resumen?timeout=30 HTTP/1.1\r\nHost: a\r\n\r\n");
    let silent = server.connect_client();
    assert!(!stuck.is_closed_within(Duration::from_millis(50)));
    let duration = server.stop(TIMEOUT * 10).expect("it stops");
    assert!(duration < TIMEOUT * 4, "{duration:?}");
    drop(silent);
}
