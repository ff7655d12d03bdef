//! Reuse of provider connections, and the retry on a stale connection.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::test_certificates::{client_certificate, test_ca_pem};
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
            .fetch(
                &self.provider,
                self.clock.deadline(Duration::from_secs(5)).into(),
            )
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
    client.fetch.set_max_per_host(30);
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
    client.provider.request.tls.ca_pem = Some(test_ca_pem().into());
    for _ in 0..5 {
        client.fetch().await.unwrap();
    }
    assert_eq!(counts(&server), (1, 5));
}

#[tokio::test]
async fn doubtful_connection_is_not_reused() {
    let scripts: [&[&str]; 4] = [
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
        &["head 200 | Content-Length: 2, 3", "send {}", "again"],
    ];
    for script in scripts {
        let server = FakeProvider::with_scripts(&[script]);
        let client = ReuseClient::for_server(&server);
        for _ in 0..3 {
            let body = client.fetch().await;
            assert!(body.is_err() || body.unwrap().body == "{}", "{script:?}");
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
    assert_eq!(client.fetch().await.unwrap().body, "{\"n\":1}");
    let sent = server.sent_byte_count();
    wait_until_async("unsolicited bytes", || server.sent_byte_count() > sent).await;
    assert_eq!(client.fetch().await.unwrap().body, "{\"n\":2}");
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
    assert_eq!(client.fetch().await.unwrap().body, "{\"n\":1}");
    assert_eq!(client.fetch().await.unwrap().body, "{\"n\":2}");
}

#[tokio::test]
async fn connection_settings_decide_about_sharing() {
    type ProviderChange = fn(&mut Provider);
    let server = FakeProvider::with_scripts(&[&["json {}", "again"]]);
    let mut client = ReuseClient::for_server(&server);
    let plain = client.provider.clone();
    let changes: [(usize, ProviderChange); 8] = [
        (0, |other| other.request.url.set_path("/other")),
        (0, |other| other.request.url.set_query(Some("of=another"))),
        (0, |other| {
            other.request.headers = vec![("X-Api-Key".into(), "of-another".into())];
        }),
        (0, |other| {
            other.request.url.set_username("another").unwrap();
        }),
        (1, |other| {
            other.request.tls.ca_pem = Some(test_ca_pem().into());
        }),
        (1, |other| {
            other.request.tls.server_name = Some(url::Host::parse("other.test").unwrap());
        }),
        (1, |other| {
            other.request.tls.client_certificate = Some(client_certificate());
        }),
        (1, |other| other.request.method = "POST".into()),
    ];
    for (added, change) in changes {
        client.provider = plain.clone();
        client.fetch().await.unwrap();
        let connections = server.connection_count();
        change(&mut client.provider);
        client.fetch().await.unwrap();
        assert_eq!(server.connection_count(), connections + added);
    }
}

/// A server that serves one connection at a time would not accept the second one.
#[tokio::test]
async fn new_connection_closes_idle_ones() {
    let server = FakeProvider::with_scripts(&[&["json {}", "again"]]);
    let mut client = ReuseClient::for_server(&server);
    let name = client.provider.name.clone();
    let due = client.clock.instant() + Duration::from_secs(4);
    client.fetch.expect_call(&name, &client.provider, due);
    for method in ["GET", "POST", "GET", "POST"] {
        client.provider.request.method = method.into();
        client.fetch().await.unwrap();
        wait_until_async("a closed connection", || {
            server.open_connection_count() <= 1
        })
        .await;
    }
    assert_eq!(server.connection_count(), 4);
}

/// A call that is in progress can be waiting for the place of an idle connection.
#[tokio::test]
async fn idle_connection_is_closed_while_a_call_runs() {
    let server = FakeProvider::with_scripts(&[&["sleep 50ms", "json {}", "again"], &["stall"]]);
    let client = Arc::new(ReuseClient::for_server(&server));
    let name = client.provider.name.clone();
    let due = client.clock.instant() + Duration::from_secs(4);
    client.fetch.expect_call(&name, &client.provider, due);
    let began = client.clock.instant();
    // Either call may have the connection that stalls.
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.fetch().await });
    }
    calls.join_next().await.unwrap().unwrap().unwrap();
    wait_until_async("a closed connection", || {
        server.open_connection_count() == 1
    })
    .await;
    let after = began.elapsed();
    assert!(
        after < Duration::from_millis(2_500),
        "closed after {after:?}"
    );
    assert!(calls.try_join_next().is_none(), "the other call still runs");
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = FakeProvider::with_scripts(&[&["json {}", "again"]]);
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    let began = client.clock.instant();
    assert_eq!(server.open_connection_count(), 1);
    wait_until_async("a closed connection", || {
        server.open_connection_count() == 0
    })
    .await;
    let idle = began.elapsed();
    assert!(
        (900..2_500).contains(&idle.as_millis()),
        "closed after {idle:?}"
    );
}

#[tokio::test]
async fn idle_connection_is_kept_for_expected_call() {
    let server = FakeProvider::with_scripts(&[&["json {}", "again"]]);
    let client = ReuseClient::for_server(&server);
    let name = client.provider.name.clone();
    let due = client.clock.instant() + Duration::from_millis(2_500);
    client.fetch.expect_call(&name, &client.provider, due);
    client.fetch().await.unwrap();
    tokio::time::sleep_until(due).await;
    client.fetch().await.unwrap();
    assert_eq!(server.connection_count(), 1);
    let later = due + Duration::from_secs(60);
    client.fetch.expect_call(&name, &client.provider, later);
    wait_until_async("a closed connection", || {
        server.open_connection_count() == 0
    })
    .await;
}

#[tokio::test]
async fn calls_at_one_host_are_limited() {
    let server = FakeProvider::with_scripts(&[&["sleep 100ms", "json {}", "again"]]);
    let client = Arc::new(ReuseClient::for_server(&server));
    client.fetch.set_max_per_host(2);
    let calls: JoinSet<bool> = (0..6)
        .map(|_| {
            let client = Arc::clone(&client);
            async move { client.fetch().await.is_ok() }
        })
        .collect();
    assert!(calls.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(server.connection_count(), 2);

    let blocked = FakeProvider::with_scripts(&[&["stall"]]);
    let provider = default_provider_at(&format!("http://{}/", blocked.address));
    let deadline = client.clock.deadline(Duration::from_millis(300));
    let calls: JoinSet<_> = (0..3)
        .map(|_| {
            let (client, provider) = (Arc::clone(&client), provider.clone());
            async move { client.fetch.fetch(&provider, deadline.into()).await }
        })
        .collect();
    let failures = calls
        .join_all()
        .await
        .into_iter()
        .map(|ended| ended.unwrap_err().failure);
    let mut messages: Vec<String> = failures
        .inspect(|failure| assert_eq!(failure.code, Code::Timeout))
        .map(|failure| failure.message.to_string())
        .collect();
    messages.sort();
    assert_eq!(
        messages[2],
        "no answer within 300 ms (waiting for one of 2 calls to 127.0.0.1)"
    );
}

/// Calls that start together over TLS, before it is known whether the server speaks HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_calls_share_one_connection() {
    let server = FakeProvider::with_http2(&["frame headers 4 \\x88", "frame data 1 {}", "again"]);
    let client = Arc::new(ReuseClient::for_server(&server));
    let calls: JoinSet<_> = (0..300)
        .map(|n| {
            let client = Arc::clone(&client);
            let url = format!("https://{}/{n}", server.address);
            let mut provider = default_provider_at(&url);
            provider.request.tls.ca_pem = Some(test_ca_pem().into());
            async move {
                let deadline = client.clock.deadline(Duration::from_secs(10));
                client
                    .fetch
                    .fetch(&provider, deadline.into())
                    .await
                    .unwrap()
            }
        })
        .collect();
    assert_eq!(calls.join_all().await.len(), 300);
    assert_eq!(counts(&server), (1, 300));
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
    let scripts: Vec<&[&str]> = (0..500).map(|n| closings[n % 4]).collect();
    let server = FakeProvider::with_scripts(&scripts);
    let client = ReuseClient::for_server(&server);
    for round in 0..500 {
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

/// After a restart of the server, every kept connection is dead.
#[tokio::test]
async fn retry_uses_no_other_stale_connection() {
    let stale = ["sleep 50ms", "json {}", "await", "close"];
    let server = FakeProvider::with_scripts(&[&stale, &stale, &stale, &["json {}", "again"]]);
    let client = ReuseClient::for_server(&server);
    let warmed = tokio::join!(client.fetch(), client.fetch(), client.fetch());
    warmed.0.and(warmed.1).and(warmed.2).unwrap();
    client.fetch().await.unwrap();
    assert_eq!(counts(&server), (4, 5));
}

#[tokio::test]
async fn retry_happens_once() {
    let server =
        FakeProvider::with_scripts(&[&["json {}", "await", "close"], &["close"], &["json {}"]]);
    let client = ReuseClient::for_server(&server);
    client.fetch().await.unwrap();
    assert_eq!(
        client.fetch().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.connection_count(), 2);
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
