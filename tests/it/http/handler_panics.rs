//! A handler with a bug: its request fails and says so, everybody else is served.

use std::time::Duration;

use crate::http::{publish_readings, start_server};
use crate::support::test_server::{TestServer, default_server_settings};

/// A server whose live answers panic: no configuration lets such a deadline through.
fn panicking_server() -> TestServer {
    let served = start_server(resumen::config::ServerSettings {
        default_timeout: Duration::MAX,
        ..default_server_settings()
    });
    publish_readings(&served);
    served
}

#[test]
fn handler_panic_gives_500_and_closes() {
    let served = panicking_server();
    let mut others: Vec<_> = (0..4).map(|_| served.connect_client()).collect();
    for client in &mut others {
        assert_eq!(client.get("/salud").status, 200);
    }
    for method in ["GET", "HEAD"] {
        let mut unlucky = served.connect_client();
        unlucky.send(format!(
            "{method} /resumen?fresh=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc\r\n\r\n"
        ));
        unlucky.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\n");
        let answers = unlucky.read_responses_to_end(method);
        let [answer] = &*answers else {
            panic!("{answers:?}")
        };
        assert_eq!(
            (answer.status, answer.header("connection")),
            (500, Some("close"))
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(
            (
                answer.header("cache-control"),
                answer.header("x-request-id")
            ),
            (Some("no-store"), Some("abc"))
        );
        if method == "GET" {
            assert_eq!(answer.json()["code"], "internal");
        }
    }
    for client in &mut others {
        assert_eq!(client.get("/resumen").status, 200);
    }
    let page = served.connect_client().get("/metrics");
    assert!(
        page.text()
            .contains("resumen_http_requests_total{route=\"/resumen\",status=\"5xx\"} 2\n"),
        "{page:?}"
    );
}
