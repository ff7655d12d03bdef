//! HTTP/2 of the server: concurrent streams, bounds, and clients that hold back their windows.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::tls_listener::TlsFixture;
use crate::support::http2_client::{Http2Client, read_body};

/// Limit of a wait for the server.
const LIMIT: Duration = Duration::from_secs(10);

struct Http2Fixture {
    service: TlsFixture,
    runtime: Runtime,
}

impl Http2Fixture {
    fn start(json: &str, server: &str) -> Self {
        Self {
            service: TlsFixture::start(json, server, ""),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// Connects with this window for each stream.
    async fn connect(&self, window: u32) -> Http2Client {
        let config = self.service.authority.client_config(None, &["h2"]);
        Http2Client::connect(self.service.app.address, &config, window).await
    }

    /// Runs `test` on this thread.
    fn run(&self, test: impl Future<Output = ()>) {
        let local = tokio::task::LocalSet::new();
        self.runtime.block_on(local.run_until(test));
    }
}

#[test]
fn http2_serves_every_path() {
    let fixture = Http2Fixture::start(r#"{"n":1}"#, "");
    fixture.run(async {
        let mut client = fixture.connect(65_535).await;
        for path in ["/resumen", "/resumen?sources=a", "/salud", "/metrics", "/"] {
            let (head, body) = client.get(path).await;
            assert_eq!(head.status(), 200, "{path}");
            let length = head.headers()["content-length"].to_str().unwrap();
            assert_eq!(length, body.len().to_string(), "{path}");
            assert!(!head.headers().contains_key("connection"));
        }
        let (head, body) = client.get("/nothing").await;
        assert_eq!(head.status(), 404);
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "not_found");
        let head = client.send("HEAD", "/resumen").await.await.unwrap();
        assert_eq!(head.status(), 200);
        assert!(head.into_body().is_end_stream());
    });
}

#[test]
fn refused_head_request_has_no_body() {
    let tokens = "[server.tokens.wall]\ntoken = \"wall-0123456789abcdef\"\nroutes = [\"data\"]";
    let fixture = Http2Fixture::start("1", tokens);
    fixture.run(async {
        let mut client = fixture.connect(65_535).await;
        for path in ["/resumen", "/nothing"] {
            let (head, body) = client.send("HEAD", path).await.await.unwrap().into_parts();
            assert_eq!(head.status, 401);
            assert_eq!(read_body(body).await.unwrap(), b"");
        }
    });
}

#[test]
fn many_streams_are_answered() {
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    let fixture = Http2Fixture::start(&json, "");
    fixture.run(async {
        let mut client = fixture.connect(65_535).await;
        // The client learns from the first response how many streams it may open; the others wait.
        client.get("/salud").await;
        let mut responses = Vec::new();
        for _ in 0..100 {
            let mut own = client.share();
            let get = async move { own.get("/resumen").await };
            responses.push(tokio::task::spawn_local(get));
        }
        for response in responses {
            let (head, body) = timeout(LIMIT, response).await.unwrap().unwrap();
            assert_eq!(head.status(), 200);
            assert!(body.len() > 200_000);
        }
        assert_eq!(client.get("/salud").await.0.status(), 200);
    });
}

#[test]
fn withheld_window_ends_connection() {
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    let fixture = Http2Fixture::start(&json, "idle_timeout = \"1s\"");
    fixture.run(async {
        for window in [0, 20_000] {
            let mut client = fixture.connect(window).await;
            let response = client.send("GET", "/resumen").await.await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(client.ends_within(LIMIT).await, "window {window}");
            drop(response);
        }
    });
}

#[test]
fn idle_connection_is_closed() {
    let fixture = Http2Fixture::start("1", "idle_timeout = \"1s\"");
    fixture.run(async {
        let mut client = fixture.connect(65_535).await;
        assert_eq!(client.get("/salud").await.0.status(), 200);
        assert!(client.ends_within(LIMIT).await);
    });
}

/// An idle connection of HTTP/2 keeps hyper's state, which the budget counts.
#[test]
fn idle_connections_give_way_to_budget() {
    const CONNECTIONS: usize = 60;
    // Of 24 KiB each.
    const FITTING: usize = 42;
    let fixture = Http2Fixture::start("1", "send_budget = \"1MiB\"");
    fixture.run(async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = fixture.connect(65_535).await;
            assert_eq!(client.get("/resumen").await.0.status(), 200);
            clients.push(client);
        }
        let mut poller = fixture.connect(65_535).await;
        let count_open =
            |clients: &[Http2Client]| clients.iter().filter(|client| !client.has_ended()).count();
        let closing = async {
            while count_open(&clients) >= FITTING {
                assert_eq!(poller.get("/resumen").await.0.status(), 200);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, closing).await.unwrap();
        // Within the budget, idle connections stay.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(poller.get("/resumen").await.0.status(), 200);
        let open = count_open(&clients);
        assert!((FITTING - 6..FITTING).contains(&open), "{open} are open");
        let newest = &clients[CONNECTIONS - FITTING / 2..];
        assert_eq!(
            count_open(newest),
            newest.len(),
            "the oldest are closed first"
        );
    });
}

#[test]
fn connection_without_request_is_closed() {
    let fixture = Http2Fixture::start("1", "header_timeout = \"500ms\"");
    fixture.run(async {
        let client = fixture.connect(65_535).await;
        assert!(client.ends_within(LIMIT).await);
    });
}

#[test]
fn event_stream_outlives_idle_timeout() {
    let fixture = Http2Fixture::start("1", "idle_timeout = \"500ms\"");
    fixture.run(async {
        let mut client = fixture.connect(65_535).await;
        let response = client.send("GET", "/resumen/stream").await.await.unwrap();
        let mut body = response.into_body();
        let first = timeout(LIMIT, body.data()).await.unwrap().unwrap().unwrap();
        assert!(
            first.starts_with(b"retry:") || first.starts_with(b"event:"),
            "{first:?}"
        );
        let ended = client.ends_within(Duration::from_secs(2)).await;
        assert!(!ended, "a stream that reads is closed");
    });
}

#[test]
fn drain_ends_connection_after_response() {
    let fixture = Http2Fixture::start("1", "shutdown_grace = \"5s\"");
    let Http2Fixture { service, runtime } = fixture;
    let local = tokio::task::LocalSet::new();
    let config = service.authority.client_config(None, &["h2"]);
    let address = service.app.address;
    let client = runtime.block_on(local.run_until(async {
        let mut client = Http2Client::connect(address, &config, 65_535).await;
        assert_eq!(client.get("/salud").await.0.status(), 200);
        client
    }));
    let stopping = std::thread::spawn(move || {
        let app = service.app;
        app.service
            .stop(&tokio_util::sync::CancellationToken::new());
    });
    assert!(runtime.block_on(local.run_until(client.ends_within(LIMIT))));
    stopping.join().unwrap();
}
