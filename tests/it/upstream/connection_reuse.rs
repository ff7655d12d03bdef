//! When a connection is used again, when it is not, and the one free retry.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Provider, SecretSet};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::faulty_provider::test_certificates::{CertificateKind, test_ca_pem};
use crate::support::faulty_provider::{FaultPlan, FaultyProvider};

struct ReuseClient {
    clock: Clock,
    fetch: HttpFetch,
    provider: Provider,
}

impl ReuseClient {
    fn for_server(server: &FaultyProvider) -> Self {
        let clock = Clock::start();
        let provider = default_provider_at(&format!("http://{}/", server.address));
        Self {
            clock,
            fetch: HttpFetch::new(clock, SecretSet::default()),
            provider,
        }
    }

    async fn fetch(&self) -> Result<Payload, FetchError> {
        self.fetch
            .fetch(
                &self.provider,
                self.clock.deadline(Duration::from_secs(5)).into(),
            )
            .await
    }
}

async fn start_scripted_provider(scripts: &[&[&str]]) -> FaultyProvider {
    let scripts = scripts
        .iter()
        .map(|lines| FaultScript::parse(lines))
        .collect();
    FaultyProvider::start(FaultPlan {
        scripts,
        tls: None,
        prelude: None,
    })
    .await
}

#[tokio::test]
async fn clean_framing_allows_reuse() {
    let answers: [&[&str]; 4] = [
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
    for answer in answers {
        let server = start_scripted_provider(&[answer]).await;
        let client = ReuseClient::for_server(&server);
        for _ in 0..5 {
            client.fetch().await.unwrap();
        }
        assert_eq!(
            (
                server.counters.connection_count(),
                server.counters.request_heads().len()
            ),
            (1, 5),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn concurrent_connections_are_reused() {
    // Nobody is answered before all have asked.
    let server = start_scripted_provider(&[&["sleep 50ms", "json {}", "again"]]).await;
    let client = Arc::new(ReuseClient::for_server(&server));
    for _ in 0..3 {
        let ask = |_| {
            let client = Arc::clone(&client);
            async move { client.fetch().await.unwrap() }
        };
        let asks: JoinSet<Payload> = (0..30).map(ask).collect();
        assert_eq!(asks.join_all().await.len(), 30);
    }
    assert_eq!(
        (
            server.counters.connection_count(),
            server.counters.request_heads().len()
        ),
        (30, 90)
    );
}

#[tokio::test]
async fn tls_connection_is_reused() {
    let scripts = vec![FaultScript::parse(&["json {}", "again"])];
    let server = FaultyProvider::start(FaultPlan {
        scripts,
        tls: Some(CertificateKind::Good),
        prelude: None,
    })
    .await;
    let mut client = ReuseClient::for_server(&server);
    client.provider = default_provider_at(&format!("https://{}/", server.address));
    client.provider.request.ca_pem = Some(test_ca_pem().into());
    for _ in 0..5 {
        client.fetch().await.unwrap();
    }
    assert_eq!(
        (
            server.counters.connection_count(),
            server.counters.request_heads().len()
        ),
        (1, 5)
    );
}

#[tokio::test]
async fn doubtful_connection_is_not_reused() {
    let answers: [&[&str]; 5] = [
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
    for answer in answers {
        let server = start_scripted_provider(&[answer]).await;
        let client = ReuseClient::for_server(&server);
        for _ in 0..3 {
            let body = client.fetch().await;
            assert!(body.is_err() || body.unwrap().0 == "{}", "{answer:?}");
        }
        assert_eq!(server.counters.connection_count(), 3, "{answer:?}");
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
    let server = start_scripted_provider(&[&first, &["json {\"n\":2}", "again"]]).await;
    let client = ReuseClient::for_server(&server);
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":1}");
    let answered = server.counters.sent_byte_count();
    wait_until(|| server.counters.sent_byte_count() > answered).await;
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":2}");
}

#[tokio::test]
async fn idle_close_costs_no_retry() {
    let first = [
        "json {\"n\":1}",
        "await",
        "head 408 | Connection: close | Content-Length: 0",
    ];
    let server = start_scripted_provider(&[&first, &["json {\"n\":2}", "again"]]).await;
    let client = ReuseClient::for_server(&server);
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":1}");
    assert_eq!(client.fetch().await.unwrap().0, "{\"n\":2}");
}

/// A server's second answer that nobody asked for can cross any request on its way, and is taken to answer it.
#[tokio::test]
async fn unsolicited_response_is_discarded() {
    let server = start_scripted_provider(&[&["json {}", "again"]]).await;
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
        assert_eq!(server.counters.connection_count(), before + 1);
        change(&mut client.provider);
        client.fetch().await.unwrap();
        assert_eq!(server.counters.connection_count(), before + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_close_is_not_a_failure() {
    // Every connection answers once and then dies in one of four ways, at once or as the next request is written.
    let deaths: [&[&str]; 4] = [
        &["json {}"],
        &["json {}", "reset"],
        &["json {}", "sleep 1ms"],
        &["json {}", "sleep 1ms", "reset"],
    ];
    let scripts: Vec<&[&str]> = (0..2_000).map(|n| deaths[n % 4]).collect();
    let server = start_scripted_provider(&scripts).await;
    let client = ReuseClient::for_server(&server);
    for round in 0..2_000 {
        let answer = client.fetch().await;
        assert!(answer.is_ok(), "round {round}: {answer:?}");
    }
}

#[tokio::test]
async fn stale_connection_is_retried_once() {
    // The server takes the second request of a connection and closes without a byte.
    let server =
        start_scripted_provider(&[&["json {}", "await", "close"], &["json {}", "again"]]).await;
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    client.fetch().await.unwrap();
    assert_eq!(
        (
            server.counters.connection_count(),
            server.counters.request_heads().len()
        ),
        (2, 3)
    );
}

#[tokio::test]
async fn retry_stops_after_first_byte() {
    let server =
        start_scripted_provider(&[&["json {}", "await", "close"], &["close"], &["json {}"]]).await;
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    assert_eq!(
        client.fetch().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.counters.connection_count(), 2);

    let server =
        start_scripted_provider(&[&["json {}", "await", "send HTTP", "close"], &["json {}"]]).await;
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    assert_eq!(
        client.fetch().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.counters.connection_count(), 1);
}

#[tokio::test]
async fn unsafe_method_uses_new_connection() {
    let server = start_scripted_provider(&[&["json {}", "again"]]).await;
    let mut client = ReuseClient::for_server(&server);
    client.provider.request.method = "POST".into();
    client.provider.request.body = Some("{}".into());
    client.fetch().await.unwrap();
    client.fetch().await.unwrap();
    assert_eq!(server.counters.connection_count(), 2);
    wait_until(|| server.counters.open_connection_count() == 0).await;
}

#[tokio::test]
async fn dropped_request_closes_connection() {
    let server = start_scripted_provider(&[&["head 200 | Content-Length: 10", "stall"]]).await;
    let client = ReuseClient::for_server(&server);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), client.fetch())
            .await
            .is_err()
    );
    assert_eq!(server.counters.connection_count(), 1);
    wait_until(|| server.counters.open_connection_count() == 0).await;
}

/// Waits until it is so.
async fn wait_until(so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait)
        .await
        .unwrap();
}
