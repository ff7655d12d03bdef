//! When a connection is used again, when it is not, and the one free retry.

use std::sync::Arc;
use std::time::Duration;

use resumen::clock::Clock;
use resumen::domain::{Code, Provider, Secrets};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use tokio::task::JoinSet;

use crate::support::fault::{FaultServer, Kind, Playbook, Script, authority_pem};
use crate::support::plain_provider;

struct Client {
    clock: Clock,
    fetch: HttpFetch,
    provider: Provider,
}

impl Client {
    fn of(server: &FaultServer) -> Self {
        let clock = Clock::start();
        let provider = plain_provider(&format!("http://{}/", server.address));
        Self {
            clock,
            fetch: HttpFetch::new(clock, Secrets::default()),
            provider,
        }
    }

    async fn ask(&self) -> Result<Payload, FetchError> {
        self.fetch
            .fetch(&self.provider, self.clock.deadline(Duration::from_secs(5)))
            .await
    }
}

async fn serve(scripts: &[&[&str]]) -> FaultServer {
    let scripts = scripts.iter().map(|lines| Script::parse(lines)).collect();
    FaultServer::start(Playbook {
        scripts,
        tls: None,
        prelude: None,
    })
    .await
}

#[tokio::test]
async fn a_connection_is_used_again_after_clean_framing() {
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
        let server = serve(&[answer]).await;
        let client = Client::of(&server);
        for _ in 0..5 {
            client.ask().await.unwrap();
        }
        assert_eq!(
            (server.seen.connections(), server.seen.heads().len()),
            (1, 5),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn as_many_connections_as_were_needed_at_once_are_used_again() {
    // Nobody is answered before all have asked.
    let server = serve(&[&["sleep 50ms", "json {}", "again"]]).await;
    let client = Arc::new(Client::of(&server));
    for _ in 0..3 {
        let ask = |_| {
            let client = Arc::clone(&client);
            async move { client.ask().await.unwrap() }
        };
        let asks: JoinSet<Payload> = (0..30).map(ask).collect();
        assert_eq!(asks.join_all().await.len(), 30);
    }
    assert_eq!(
        (server.seen.connections(), server.seen.heads().len()),
        (30, 90)
    );
}

#[tokio::test]
async fn a_tls_connection_is_used_again() {
    let scripts = vec![Script::parse(&["json {}", "again"])];
    let server = FaultServer::start(Playbook {
        scripts,
        tls: Some(Kind::Good),
        prelude: None,
    })
    .await;
    let mut client = Client::of(&server);
    client.provider = plain_provider(&format!("https://{}/", server.address));
    client.provider.request.ca = Some(authority_pem().into());
    for _ in 0..5 {
        client.ask().await.unwrap();
    }
    assert_eq!(
        (server.seen.connections(), server.seen.heads().len()),
        (1, 5)
    );
}

#[tokio::test]
async fn a_connection_in_doubt_is_not_used_again() {
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
        let server = serve(&[answer]).await;
        let client = Client::of(&server);
        for _ in 0..3 {
            let body = client.ask().await;
            assert!(body.is_err() || body.unwrap().0 == "{}", "{answer:?}");
        }
        assert_eq!(server.seen.connections(), 3, "{answer:?}");
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_a_resting_connection() {
    let first = [
        "json {\"n\":1}",
        "sleep 30ms",
        "send HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil",
        "stall",
    ];
    let server = serve(&[&first, &["json {\"n\":2}", "again"]]).await;
    let client = Client::of(&server);
    assert_eq!(client.ask().await.unwrap().0, "{\"n\":1}");
    let answered = server.seen.sent();
    soon(|| server.seen.sent() > answered).await;
    assert_eq!(client.ask().await.unwrap().0, "{\"n\":2}");
}

#[tokio::test]
async fn a_servers_farewell_to_a_resting_connection_costs_nothing() {
    let first = [
        "json {\"n\":1}",
        "await",
        "head 408 | Connection: close | Content-Length: 0",
    ];
    let server = serve(&[&first, &["json {\"n\":2}", "again"]]).await;
    let client = Client::of(&server);
    assert_eq!(client.ask().await.unwrap().0, "{\"n\":1}");
    assert_eq!(client.ask().await.unwrap().0, "{\"n\":2}");
}

/// A server's second answer that nobody asked for can cross any request on its way, and is taken to answer it.
#[tokio::test]
async fn an_unasked_answer_never_becomes_the_answer_to_another_request() {
    let server = serve(&[&["json {}", "again"]]).await;
    let mut client = Client::of(&server);
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
        client.ask().await.unwrap();
        assert_eq!(server.seen.connections(), before + 1);
        change(&mut client.provider);
        client.ask().await.unwrap();
        assert_eq!(server.seen.connections(), before + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_idle_connections_is_no_error() {
    // Every connection answers once and then dies in one of four ways, at once or as the next request is written.
    let deaths: [&[&str]; 4] = [
        &["json {}"],
        &["json {}", "reset"],
        &["json {}", "sleep 1ms"],
        &["json {}", "sleep 1ms", "reset"],
    ];
    let scripts: Vec<&[&str]> = (0..2_000).map(|n| deaths[n % 4]).collect();
    let server = serve(&scripts).await;
    let client = Client::of(&server);
    for round in 0..2_000 {
        let answer = client.ask().await;
        assert!(answer.is_ok(), "round {round}: {answer:?}");
    }
}

#[tokio::test]
async fn a_resting_connection_that_dies_under_a_request_costs_one_free_retry() {
    // The server takes the second request of a connection and closes without a byte.
    let server = serve(&[&["json {}", "await", "close"], &["json {}", "again"]]).await;
    let client = Client::of(&server);
    client.ask().await.unwrap();
    client.ask().await.unwrap();
    assert_eq!(
        (server.seen.connections(), server.seen.heads().len()),
        (2, 3)
    );
}

#[tokio::test]
async fn there_is_no_second_retry_and_none_after_a_byte_of_an_answer() {
    let server = serve(&[&["json {}", "await", "close"], &["close"], &["json {}"]]).await;
    let client = Client::of(&server);
    client.ask().await.unwrap();
    assert_eq!(
        client.ask().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.seen.connections(), 2);

    let server = serve(&[&["json {}", "await", "send HTTP", "close"], &["json {}"]]).await;
    let client = Client::of(&server);
    client.ask().await.unwrap();
    assert_eq!(
        client.ask().await.unwrap_err().failure.code,
        Code::ConnectionClosed
    );
    assert_eq!(server.seen.connections(), 1);
}

#[tokio::test]
async fn what_cannot_be_repeated_gets_a_new_connection() {
    let server = serve(&[&["json {}", "again"]]).await;
    let mut client = Client::of(&server);
    client.provider.request.method = "POST".into();
    client.provider.request.body = Some("{}".into());
    client.ask().await.unwrap();
    client.ask().await.unwrap();
    assert_eq!(server.seen.connections(), 2);
    soon(|| server.seen.open() == 0).await;
}

#[tokio::test]
async fn dropping_a_request_closes_its_connection() {
    let server = serve(&[&["head 200 | Content-Length: 10", "stall"]]).await;
    let client = Client::of(&server);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), client.ask())
            .await
            .is_err()
    );
    assert_eq!(server.seen.connections(), 1);
    soon(|| server.seen.open() == 0).await;
}

/// Waits until it is so.
async fn soon(so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait)
        .await
        .unwrap();
}
