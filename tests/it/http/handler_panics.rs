//! A panic in a handler: its request gets 500, and other requests are served.

use std::time::Duration;

use crate::http::{publish_readings, start_server};
use crate::support::test_server::{TestServer, default_server_settings};

/// A server whose live requests panic: the configuration rejects this timeout.
fn panicking_server() -> TestServer {
    let server = start_server(resumen::config::ServerSettings {
        default_timeout: Duration::MAX,
        ..default_server_settings()
    });
    publish_readings(&server);
    server
}

#[test]
fn handler_panic_gives_500_and_closes() {
    let server = panicking_server();
    let mut other_clients: Vec<_> = (0..4).map(|_| server.connect_client()).collect();
    for other in &mut other_clients {
        assert_eq!(other.get("/salud").status, 200);
    }
    for method in ["GET", "HEAD"] {
        let mut client = server.connect_client();
        client.send(format!(
            "{method} /resumen?fresh=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc\r\n\r\n"
        ));
        client.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\n");
        let responses = client.read_responses_to_end(method);
        let [response] = &*responses else {
            panic!("{responses:?}")
        };
        assert_eq!(
            (response.status, response.header("connection")),
            (500, Some("close"))
        );
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(
            (
                response.header("cache-control"),
                response.header("x-request-id")
            ),
            (Some("no-store"), Some("abc"))
        );
        if method == "GET" {
            assert_eq!(response.json()["code"], "internal");
        }
    }
    for other in &mut other_clients {
        assert_eq!(other.get("/resumen").status, 200);
    }
    let page = server.connect_client().get("/metrics");
    assert!(
        page.text()
            .contains("resumen_http_requests_total{route=\"/resumen\",status=\"5xx\"} 2\n"),
        "{page:?}"
    );
}
