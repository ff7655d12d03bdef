//! Providers that speak real HTTP/2 over TLS.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Provider, Redactor};
use resumen::fetch::{Fetch, HttpFetch};
use resumen::process::Clock;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::test_certificates::test_ca_pem;
use crate::support::http2_server::Http2Server;
use crate::support::test_app::TestApp;
use crate::support::wait::{wait_until, wait_until_async};

/// Number of sources at one host.
const SOURCE_COUNT: usize = 300;

fn provider_at(url: &str) -> Provider {
    let mut provider = default_provider_at(url);
    provider.request.tls.ca_pem = Some(test_ca_pem().into());
    provider
}

fn count_sources(answer: &Value, is_counted: impl Fn(&Value) -> bool) -> usize {
    let sources = answer["resultados"].as_object().unwrap();
    sources.values().filter(|source| is_counted(source)).count()
}

#[test]
fn many_http2_sources_use_one_connection() {
    let server = Http2Server::start(usize::MAX);
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, test_ca_pem()).unwrap();
    let mut text = "[store]\npath = \"\"\n[defaults]\ninterval = \"4s\"\n".to_owned();
    for n in 0..SOURCE_COUNT {
        let (url, ca_file) = (server.url(), ca_file.display());
        writeln!(
            text,
            "[sources.s{n}]\nurl = \"{url}{n}\"\nca_file = \"{ca_file}\""
        )
        .unwrap();
    }
    let app = TestApp::start(&text);
    let answer = app.wait_for_json("/resumen?fresh=1", |answer| {
        count_sources(answer, |source| source["ok"] == true) == SOURCE_COUNT
    });
    let host = server.address.to_string();
    for (name, source) in answer["resultados"].as_object().unwrap() {
        let path = format!("/{}", &name[1..]);
        assert_eq!(
            source["data"],
            serde_json::json!({"path": path, "host": host})
        );
    }
    // Two rounds of scheduled attempts.
    wait_until("scheduled attempts", || {
        server.call_count() > 3 * SOURCE_COUNT
    });
    let answer = app.get_json("/resumen");
    assert_eq!(
        count_sources(&answer, |source| source["code"].is_null()),
        SOURCE_COUNT
    );
    assert_eq!(server.most_open_connections(), 1);
    drop(app);
    wait_until("a closed connection", || {
        server.open_connection_count() == 0
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_goaway_causes_no_failure() {
    let server = Http2Server::start(7);
    let clock = Clock::start();
    let fetch = Arc::new(HttpFetch::new(clock, Redactor::default()));
    for _ in 0..20 {
        let calls: JoinSet<_> = (0..10)
            .map(|n| {
                let (fetch, provider) = (Arc::clone(&fetch), provider_at(&server.url()));
                async move {
                    tokio::time::sleep(Duration::from_millis(5 * n)).await;
                    let deadline = clock.deadline(Duration::from_secs(5));
                    fetch.fetch(&provider, deadline.into()).await
                }
            })
            .collect();
        for ended in calls.join_all().await {
            ended.unwrap();
        }
    }
    assert!(server.connection_count() > 10);
}

#[tokio::test]
async fn http2_post_uses_a_connection_of_its_own() {
    let server = Http2Server::start(usize::MAX);
    let clock = Clock::start();
    let fetch = Arc::new(HttpFetch::new(clock, Redactor::default()));
    fetch.set_max_per_host(2);
    fetch
        .fetch(
            &provider_at(&server.url()),
            clock.deadline(Duration::from_secs(5)).into(),
        )
        .await
        .unwrap();
    let calls: JoinSet<_> = (0..8)
        .map(|_| {
            let (fetch, mut provider) = (Arc::clone(&fetch), provider_at(&server.url()));
            provider.request.method = "POST".into();
            let deadline = clock.deadline(Duration::from_secs(5));
            async move { fetch.fetch(&provider, deadline.into()).await.unwrap() }
        })
        .collect();
    assert_eq!(calls.join_all().await.len(), 8);
    assert_eq!(server.connection_count(), 9);
    // Two calls at a time; the server learns of the end of a connection with a delay.
    assert!(
        server.most_open_connections() <= 5,
        "{}",
        server.most_open_connections()
    );
}

/// The calls of a connection in doubt end on it; others use a new one.
#[tokio::test]
async fn doubtful_http2_connection_takes_no_call() {
    let server = Http2Server::start(usize::MAX);
    let clock = Clock::start();
    let fetch = HttpFetch::new(clock, Redactor::default());
    // Equal limits: calls with other connection settings do not share a connection.
    let call = async |path: &str, start_after: u64| {
        tokio::time::sleep(Duration::from_millis(start_after)).await;
        let provider = provider_at(&format!("{}{path}", server.url()));
        let deadline = clock.deadline(Duration::from_secs(2));
        fetch.fetch(&provider, deadline.into()).await
    };
    let (late, running, next) =
        tokio::join!(call("delay/60000", 0), call("delay/1500", 1_200), async {
            call("next", 2_200).await.unwrap();
            server.open_connection_count()
        });
    late.unwrap_err();
    running.unwrap();
    assert_eq!((next, server.connection_count()), (2, 2));
    let began = clock.instant();
    wait_until_async("a closed connection", || {
        server.open_connection_count() <= 1
    })
    .await;
    let after = began.elapsed();
    assert!(after < Duration::from_millis(700), "closed after {after:?}");
}

/// A flood does not go on in a pooled connection after the call that timed out.
#[tokio::test]
async fn http2_flood_ends_with_its_call() {
    let server = FakeProvider::with_http2(&["flood frame ping 0 aaaaaaaa"]);
    let clock = Clock::start();
    let fetch = HttpFetch::new(clock, Redactor::default());
    let mut provider = provider_at(&format!("https://{}/", server.address));
    provider.request.method = "GET".into();
    let deadline = clock.deadline(Duration::from_millis(300));
    fetch.fetch(&provider, deadline.into()).await.unwrap_err();
    let began = clock.instant();
    wait_until_async("a closed connection", || {
        server.open_connection_count() == 0
    })
    .await;
    let after = began.elapsed();
    assert!(after < Duration::from_millis(700), "closed after {after:?}");
}
