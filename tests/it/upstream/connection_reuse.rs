//! Reuse of provider connections, and the retry on a stale connection.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::test_certificates::test_ca_pem;
use crate::support::wait::wait_until_async;

struct ReuseClient {
    clock: Clock,
    fetch: HttpFetch,
    provider: Provider,
}

impl ReuseClient {
    fn for_server(server: &FakeProvider) -> Self {
        let clock = Clock::start();
        let provider = default_provider_at(&server.url());
        Self {
            clock,
            fetch: HttpFetch::new(clock, Redactor::default()),
            provider,
        }
    }

    async fn fetch(&self) -> Result<Payload, FetchError> {
        self.fetch
            .fetch(&self.provider, self.clock.deadline(Duration::from_secs(5)))
            .await
    }
}

/// Numbers of connections and of requests.
fn counts(server: &FakeProvider) -> (usize, usize) {
    (server.connection_count(), server.call_count())
}

#[tokio::test]
async fn clean_framing_allows_reuse() {
    let scripts: [&[&str]; 4] = [
        &["json {}", "again"],
        &[
            "head 200 | Transfer-Encoding: chunked",
            "chunk {}",
            "last chunk",
            "again",
        ],
        &[
            "head 200 | Content-Encoding: gzip | Transfer-Encoding: chunked",
            "chunk gzip {}",
            "last chunk",
            "again",
        ],
        &["head 103", "json {}", "again"],
    ];
    for script in scripts {
        let server = FakeProvider::with_scripts(&[script]);
        let client = ReuseClient::for_server(&server);
        for _ in 0..5 {
            client.fetch().await.unwrap();
        }
        assert_eq!(counts(&server), (1, 5), "{script:?}");
    }
}

#[tokio::test]
async fn concurrent_connections_are_reused() {
    // The delay lets all requests arrive before the first response.
    let server = FakeProvider::with_scripts(&[&["sleep 50ms", "json {}", "again"]]);
    let client = Arc::new(ReuseClient::for_server(&server));
    for _ in 0..3 {
        let fetch = |_| {
            let client = Arc::clone(&client);
            async move { client.fetch().await.unwrap() }
        };
        let fetches: JoinSet<Payload> = (0..30).map(fetch).collect();
        assert_eq!(fetches.join_all().await.len(), 30);
    }
    assert_eq!(counts(&server), (30, 90));
}

#[tokio::test]
async fn tls_connection_is_reused() {
    let server = FakeProvider::with_tls(&["json {}", "again"]);
    let mut client = ReuseClient::for_server(&server);
    client.provider = default_provider_at(&format!("https://{}/", server.address));
    client.provider.request.ca_pem = Some(test_ca_pem().into());
    for _ in 0..5 {
        client.fetch().await.unwrap();
    }
    assert_eq!(counts(&server), (1, 5));
}

#[tokio::test]
async fn doubtful_connection_is_not_reused() {
    let scripts: [&[&str]; 5] = [
        &[
            "head 200 | Connection: close | Content-Length: 2",
            "send {}",
            "again",
        ],
        &[
            "head 200 | Content-Length: 2",
            "send {}HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil",
            "again",
        ],
        &[
            "send HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}",
            "again",
        ],
        &["head 404 | Content-Length: 2", "send {}", "again"],
        &["head 200 | Content-Length: 2, 2", "send {}", "again"],
    ];
    for script in scripts {
        let server = FakeProvider::with_scripts(&[script]);
        let client = ReuseClient::for_server(&server);
        for _ in 0..3 {
            let body = client.fetch().await;
            assert!(body.is_err() || body.unwrap().0 == "{}", "{script:?}");
        }
        assert_eq!(server.connection_count(), 3, "{script:?}");
    }
}

#[tokio::test]
async fn unsolicited_bytes_close_idle_connection() {
    let first = [
        "json {\"n\":1}",
        "sleep 30ms",
        "send HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil",
        "stall",
    ];
    let server = FakeProvider::with_scripts(&[&first, &["json {\"n\":2}", "again"]]);
    let client = ReuseClient::for_server(&server);
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":1}");
    let sent = server.sent_byte_count();
    wait_until_async("unsolicited bytes", || server.sent_byte_count() > sent).await;
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":2}");
}

#[tokio::test]
async fn idle_close_costs_no_retry() {
    let first = [
        "json {\"n\":1}",
        "await",
        "head 408 | Connection: close | Content-Length: 0",
    ];
    let server = FakeProvider::with_scripts(&[&first, &["json {\"n\":2}", "again"]]);
    let client = ReuseClient::for_server(&server);
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":1}");
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":2}");
}

/// A second response to one request could be taken for the response to the next request, so a
/// connection is reused for equal requests only.
#[tokio::test]
async fn unsolicited_response_is_discarded() {
    let server = FakeProvider::with_scripts(&[&["json {}", "again"]]);
    let mut client = ReuseClient::for_server(&server);
    let plain = client.provider.clone();
    let changes: [fn(&mut Provider); 5] = [
        |other| other.request.url.set_path("/other"),
        |other| other.request.url.set_query(Some("of=another")),
        |other| other.request.headers = vec![("X-Api-Key".into(), "of-another".into())],
        |other| other.request.url.set_username("another").unwrap(),
        |other| other.request.allow_private = true,
    ];
    for (before, change) in (0..).zip(changes) {
        client.provider = plain.clone();
        client.fetch().await.unwrap();
        assert_eq!(server.connection_count(), before + 1);
        change(&mut client.provider);
        client.fetch().await.unwrap();
        assert_eq!(server.connection_count(), before + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_close_is_not_a_failure() {
    // Each connection answers once and then closes in one of four ways, at once or while the next
    // request is written.
    let closings: [&[&str]; 4] = [
        &["json {}"],
        &["json {}", "reset"],
        &["json {}", "sleep 1ms"],
        &["json {}", "sleep 1ms", "reset"],
    ];
    let scripts: Vec<&[&str]> = (0..2_000).map(|n| closings[n % 4]).collect();
    let server = FakeProvider::with_scripts(&scripts);
    let client = ReuseClient::for_server(&server);
    for round in 0..2_000 {
        let result = client.fetch().await;
        assert!(result.is_ok(), "round {round}: {result:?}");
    }
}

#[tokio::test]
async fn stale_connection_is_retried_once() {
    // The server reads the second request of a connection and closes without a response.
    let server =
        FakeProvider::with_scripts(&[&["json {}", "await", "close"], &["json {}", "again"]]);
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    client.fetch().await.unwrap();
    assert_eq!(counts(&server), (2, 3));
}

#[tokio::test]
async fn retry_stops_after_first_byte() {
    let server =
        FakeProvider::with_scripts(&[&["json {}", "await", "close"], &["close"], &["json {}"]]);
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    assert_eq!(
        client.fetch().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.connection_count(), 2);

    let server =
        FakeProvider::with_scripts(&[&["json {}", "await", "send HTTP", "close"], &["json {}"]]);
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    assert_eq!(
        client.fetch().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test]
async fn unsafe_method_uses_new_connection() {
    let server = FakeProvider::with_scripts(&[&["json {}", "again"]]);
    let mut client = ReuseClient::for_server(&server);
    client.provider.request.method = "POST".into();
    client.provider.request.body = Some("{}".into());
    client.fetch().await.unwrap();
    client.fetch().await.unwrap();
    assert_eq!(server.connection_count(), 2);
    wait_until_async("a closed connection", || {
        server.open_connection_count() == 0
    })
    .await;
}

#[tokio::test]
async fn dropped_request_closes_connection() {
    let server = FakeProvider::with_scripts(&[&["head 200 | Content-Length: 10", "stall"]]);
    let client = ReuseClient::for_server(&server);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), client.fetch())
            .await
            .is_err()
    );
    assert_eq!(server.connection_count(), 1);
    wait_until_async("a closed connection", || {
        server.open_connection_count() == 0
    })
    .await;
}
