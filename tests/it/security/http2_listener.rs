//! HTTP/2 of the server: concurrent streams, bounds, and clients that hold back their windows.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::TestApp;
use crate::support::tls_client::TestAuthority;
use crate::support::wait::wait_until;

/// Limit of a wait for the server.
const LIMIT: Duration = Duration::from_secs(10);

struct Http2Fixture {
    authority: TestAuthority,
    app: TestApp,
    runtime: Runtime,
    _provider: FakeProvider,
}

/// One connection. The task ends with it.
struct Http2Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2Fixture {
    fn start(json: &str, server: &str) -> Self {
        let authority = TestAuthority::new("server authority");
        let folder = tempfile::tempdir().unwrap();
        authority.issue().write(folder.path());
        let provider = FakeProvider::with_json(json);
        let path = folder.path().display();
        let app = TestApp::start(&format!(
            "[server]\n{server}\n[server.tls]\ncert_file = \"{path}/cert.pem\"\n\
             key_file = \"{path}/key.pem\"\n[store]\npath = \"\"\n\
             [sources.a]\nurl = \"{}\"\ninterval = \"1h\"\n",
            provider.url()
        ));
        wait_until("a reading", || {
            app.service.core.cache.snapshot().is_ready_to_answer(0)
        });
        Self {
            authority,
            app,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            _provider: provider,
        }
    }

    /// Connects with this window for each stream.
    async fn connect(&self, window: u32) -> Http2Client {
        let config = self.authority.client_config(None, &["h2"]);
        let address: SocketAddr = self.app.address;
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap();
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake(stream)
            .await
            .unwrap();
        Http2Client {
            requests,
            connection: tokio::task::spawn_local(connection),
        }
    }

    /// Runs `test` on this thread.
    fn run(&self, test: impl Future<Output = ()>) {
        let local = tokio::task::LocalSet::new();
        self.runtime.block_on(local.run_until(test));
    }
}

impl Http2Client {
    async fn send(&mut self, method: &str, path: &str) -> ResponseFuture {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .body(())
            .unwrap();
        let mut ready = self.requests.clone().ready().await.unwrap();
        ready.send_request(request, true).unwrap().0
    }

    async fn get(&mut self, path: &str) -> (Response<()>, Vec<u8>) {
        let response = self.send("GET", path).await.await.unwrap();
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(part) = body.data().await {
            let part = part.unwrap();
            let _ = body.flow_control().release_capacity(part.len());
            bytes.extend_from_slice(&part);
        }
        (Response::from_parts(head, ()), bytes)
    }

    /// Whether the server ends the connection in time.
    async fn ends_within(self, limit: Duration) -> bool {
        timeout(limit, self.connection).await.is_ok()
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
fn many_streams_are_answered() {
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    let fixture = Http2Fixture::start(&json, "");
    fixture.run(async {
        let mut client = fixture.connect(65_535).await;
        // The client learns from the first response how many streams it may open; the others wait.
        client.get("/salud").await;
        let mut responses = Vec::new();
        for _ in 0..100 {
            let (mut own, path) = (
                Http2Client {
                    requests: client.requests.clone(),
                    connection: tokio::task::spawn_local(async { Ok(()) }),
                },
                "/resumen",
            );
            responses.push(tokio::task::spawn_local(async move { own.get(path).await }));
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
    let Http2Fixture {
        authority,
        app,
        runtime,
        ..
    } = fixture;
    let local = tokio::task::LocalSet::new();
    let config = authority.client_config(None, &["h2"]);
    let address = app.address;
    let client = runtime.block_on(local.run_until(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let mut client = Http2Client {
            requests,
            connection: tokio::task::spawn_local(connection),
        };
        assert_eq!(client.get("/salud").await.0.status(), 200);
        client
    }));
    let stopping = std::thread::spawn(move || {
        app.service
            .stop(&tokio_util::sync::CancellationToken::new());
    });
    assert!(runtime.block_on(local.run_until(client.ends_within(LIMIT))));
    stopping.join().unwrap();
}
