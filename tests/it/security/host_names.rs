//! DNS rebinding: a page of the internet points its own name at the service's address and reads the
//! answers of a private network through its visitor's browser. `server.hosts` refuses its name.

use crate::http::{publish_readings, start_server};
use crate::support::raw_client::RawResponse;
use crate::support::test_server::{TestServer, default_server_settings};

fn server_named(hosts: &[&str]) -> TestServer {
    let server = start_server(resumen::config::ServerSettings {
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        ..default_server_settings()
    });
    publish_readings(&server);
    server
}

/// The response to a request whose fields are these lines.
fn request(server: &TestServer, line: &str, fields: &str) -> RawResponse {
    let mut client = server.connect_client();
    client.send(format!("{line}\r\n{fields}\r\n"));
    client.read_response(line.split(' ').next().unwrap())
}

#[track_caller]
fn assert_misdirected(response: &RawResponse) {
    assert_eq!(response.status, 421, "{response:?}");
    assert_eq!(response.json()["code"], "misdirected_host");
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

/// Takes the fast path, hyper's path and an unknown path.
#[test]
fn rebinding_name_is_refused() {
    let (guarded, open) = (server_named(&["wall.example"]), server_named(&[]));
    for path in ["/resumen", "/resumen?_=1", "/metrics", "/", "/none"] {
        let line = format!("GET {path} HTTP/1.1");
        for fields in [
            "Host: rebind.example\r\n",
            "Host: rebind.example:8080\r\nAccept-Encoding: br\r\n",
            "Host: wall.example.rebind.example\r\n",
        ] {
            assert_misdirected(&request(&guarded, &line, fields));
            assert_ne!(request(&open, &line, fields).status, 421);
        }
        for host in [
            "wall.example",
            "WALL.example.:80",
            "127.0.0.1",
            "[::1]:8080",
            "localhost",
        ] {
            let response = request(&guarded, &line, &format!("Host: {host}\r\n"));
            assert_ne!(response.status, 421, "{path} {host}");
        }
    }
}

#[test]
fn name_in_brackets_is_no_address() {
    let server = server_named(&["wall.example"]);
    for host in ["[rebind.example]", "[v1.rebind]", "[127.0.0.1]"] {
        let response = request(
            &server,
            "GET /resumen HTTP/1.1",
            &format!("Host: {host}\r\n"),
        );
        assert_eq!(response.status, 400, "{host}");
    }
}

#[test]
fn health_passes_under_every_name() {
    let server = server_named(&["wall.example"]);
    for path in ["/salud", "/salud/listo", "/healthz", "/readyz"] {
        let line = format!("GET {path} HTTP/1.1");
        let response = request(&server, &line, "Host: 10-0-0-7.pod.cluster.local\r\n");
        assert_eq!(response.status, 200, "{path}");
    }
    for path in ["/salud/fuentes", "/salud/", "/healthz/", "/SALUD"] {
        let line = format!("GET {path} HTTP/1.1");
        assert_misdirected(&request(&server, &line, "Host: rebind.example\r\n"));
    }
}

/// A proxy may go by either name of a request.
#[test]
fn every_name_of_a_request_counts() {
    let server = server_named(&["wall.example"]);
    let cases = [
        ("http://wall.example/resumen", "wall.example", 200),
        ("http://rebind.example/resumen", "wall.example", 421),
        ("http://wall.example/resumen", "rebind.example", 421),
    ];
    for (target, host, status) in cases {
        let response = request(
            &server,
            &format!("GET {target} HTTP/1.1"),
            &format!("Host: {host}\r\n"),
        );
        assert_eq!(response.status, status, "{target} {host}");
    }
}

#[test]
fn request_without_a_name_is_refused() {
    let server = server_named(&["wall.example"]);
    assert_misdirected(&request(&server, "GET /resumen HTTP/1.0", ""));
    assert_eq!(request(&server, "GET /salud HTTP/1.0", "").status, 200);
    let named = request(&server, "GET /resumen HTTP/1.0", "Host: wall.example\r\n");
    assert_eq!(named.status, 200);
}

/// A head that was answered once is answered again by comparing bytes; another name has other bytes.
#[test]
fn remembered_head_is_not_reused_for_another_name() {
    let server = server_named(&["wall.example"]);
    let mut client = server.connect_client();
    let head = |host: &str| format!("GET /resumen HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (good, bad) = (head("wall.example"), head("evil.example"));
    client.send([good.clone(), good.clone(), bad, good].concat());
    let statuses: Vec<u16> = (0..4).map(|_| client.read_response("GET").status).collect();
    assert_eq!(statuses, [200, 200, 421, 200]);
}
