//! What a provider sees of a request, and what a message never shows.

use std::time::Duration;

use resumen::clock::Clock;
use resumen::domain::{Provider, Secrets};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};

use crate::support::fault::{FaultServer, Playbook, Script};
use crate::support::plain_provider;

async fn serve(script: &[&str]) -> FaultServer {
    FaultServer::start(Playbook {
        scripts: vec![Script::parse(script)],
        tls: None,
        prelude: None,
    })
    .await
}

async fn ask(provider: &Provider, secrets: Secrets) -> Result<Payload, FetchError> {
    let clock = Clock::start();
    HttpFetch::new(clock, secrets)
        .fetch(provider, clock.deadline(Duration::from_secs(2)))
        .await
}

/// The head that the server got for `provider`, its lines sorted but the first.
async fn head(change: impl FnOnce(&mut Provider)) -> Vec<String> {
    let server = serve(&["json {}"]).await;
    let port = server.address.port();
    let mut provider = plain_provider(&format!("http://127.0.0.1:{port}/a%20b?q=1&r=%2F#part"));
    change(&mut provider);
    ask(&provider, Secrets::default()).await.unwrap();
    let head = server
        .seen
        .heads()
        .remove(0)
        .replace(&port.to_string(), "PORT");
    let mut lines: Vec<String> = head.trim_end().split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

#[tokio::test]
async fn the_defaults_are_few() {
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "GET /a%20b?q=1&r=%2F HTTP/1.1".to_owned(),
        "accept-encoding: gzip, br, zstd".to_owned(),
        "accept: application/json".to_owned(),
        "host: 127.0.0.1:PORT".to_owned(),
        format!("user-agent: resumen/{version}"),
    ];
    assert_eq!(head(|_| {}).await, expected);
}

#[tokio::test]
async fn the_configuration_wins_and_userinfo_becomes_credentials() {
    let lines = head(|provider| {
        let request = &mut provider.request;
        request.url.set_username("us%40er").unwrap();
        request.url.set_password(Some("p%3Aw")).unwrap();
        request.method = "PUT".into();
        request.body = Some("[1]".into());
        let headers = [
            ("User-Agent", "me"),
            ("ACCEPT", "text/csv"),
            ("accept-encoding", "identity"),
            ("X-Key", "k"),
            ("X-Key", "l"),
        ];
        request.headers = headers
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec();
    })
    .await;
    let expected = [
        "PUT /a%20b?q=1&r=%2F HTTP/1.1",
        "accept-encoding: identity",
        "accept: text/csv",
        "authorization: Basic dXNAZXI6cDp3",
        "content-length: 3",
        "content-type: application/json",
        "host: 127.0.0.1:PORT",
        "user-agent: me",
        "x-key: k",
        "x-key: l",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_stated_authorization_goes_before_userinfo() {
    let lines = head(|provider| {
        provider.request.url.set_username("user").unwrap();
        provider.request.headers = vec![("authorization".into(), "Bearer t".into())];
    })
    .await;
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("authorization"))
            .collect::<Vec<_>>(),
        ["authorization: Bearer t"]
    );
}

#[tokio::test]
async fn messages_hold_no_secret_even_if_the_provider_echoes_one() {
    let secrets = [
        "canary-query",
        "canary-user",
        "canary-word",
        "canary-head",
        "canary\"quoted\"value",
    ]
    .map(str::to_owned);
    let filler = "x".repeat(110);
    let title = format!("canary-query canary\\\\\"quoted\\\\\"value {filler} canary-head");
    let endings: [&[&str]; 5] = [
        &[
            "head 500 | Content-Type: application/problem+json",
            &format!("send {{\"title\":\"{title}\"}}"),
        ],
        &[
            "head 302 | Location: http://canary-user:canary-word@127.0.0.1/?canary-query | Content-Length: 0",
        ],
        &["head 200 | X: canary-query\\0", "send canary-query"],
        &["send canary-query\\r\\n\\r\\n"],
        &[
            "head 200 | Content-Encoding: canary-query | Content-Length: 2",
            "send {}",
        ],
    ];
    for script in endings {
        let server = serve(script).await;
        let url = format!(
            "http://canary-user:canary-word@{}/?key=canary-query",
            server.address
        );
        let mut provider = plain_provider(&url);
        provider.request.headers = vec![("X-Api-Key".into(), "canary-head".into())];
        let error = ask(&provider, Secrets::new(secrets.clone()))
            .await
            .unwrap_err();
        let message = &error.failure.message;
        assert!(!message.contains("canary"), "{message}");
        assert!(!format!("{error:?} {provider:?}").contains("canary"));
    }
}

#[tokio::test]
async fn the_secrets_of_this_configuration_and_the_one_before_are_masked() {
    let server = serve(&[
        "head 500 | Content-Type: application/problem+json",
        "send {\"title\":\"oldest-secret old-secret new-secret\"}",
    ])
    .await;
    let clock = Clock::start();
    let fetch = HttpFetch::new(clock, Secrets::new(["oldest-secret".to_owned()]));
    fetch.set_secrets(Secrets::new(["old-secret".to_owned()]));
    fetch.set_secrets(Secrets::new(["new-secret".to_owned()]));
    let provider = plain_provider(&format!("http://{}/", server.address));
    let error = fetch
        .fetch(&provider, clock.deadline(Duration::from_secs(2)))
        .await
        .unwrap_err();
    assert_eq!(
        &*error.failure.message,
        "HTTP 500 Internal Server Error: \"oldest-secret *** ***\""
    );
}
