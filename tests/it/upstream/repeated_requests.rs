//! Requests that are sent again: answers to Digest challenges, and redirects of the same host.

use std::time::Duration;

use resumen::domain::{Code, Credentials, Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;

const CHALLENGE: &str = r#"head 401 | Content-Length: 0 | WWW-Authenticate: Digest realm="cam", nonce="n1", qop="auth", opaque="o""#;

fn credentials() -> Credentials {
    Credentials {
        username: "admin".into(),
        password: "secret".into(),
    }
}

fn new_fetch() -> HttpFetch {
    HttpFetch::new(Clock::start(), Redactor::default())
}

async fn fetch_from(fetch: &HttpFetch, provider: &Provider) -> Result<Payload, FetchError> {
    let deadline = Clock::start().deadline(Duration::from_secs(2));
    fetch.fetch(provider, deadline.into()).await
}

/// The first words of the `Authorization` of each request: scheme and, for Digest, the count of the nonce.
fn authorizations(server: &FakeProvider) -> Vec<String> {
    let heads = server.request_heads();
    let values = heads.iter().map(|head| {
        let value = head
            .lines()
            .find_map(|line| line.strip_prefix("Authorization: "));
        let value = value.unwrap_or_default();
        let count = value.split(", ").find(|part| part.starts_with("nc="));
        let scheme = value.split(' ').next().unwrap_or_default();
        [scheme, count.unwrap_or_default()].join(" ")
    });
    values.collect()
}

#[tokio::test]
async fn server_may_return_to_basic() {
    let server = FakeProvider::with_script(&[
        CHALLENGE,
        "await",
        "json 1",
        "await",
        "head 401 | Content-Length: 0 | WWW-Authenticate: Basic realm=\"cam\"",
        "await",
        "json 2",
    ]);
    let mut provider = default_provider_at(&server.url());
    provider.request.credentials = Some(credentials());
    let fetch = new_fetch();
    assert_eq!(fetch_from(&fetch, &provider).await.unwrap().body, "1");
    fetch_from(&fetch, &provider).await.unwrap_err();
    assert_eq!(fetch_from(&fetch, &provider).await.unwrap().body, "2");
    let expected = [
        "Basic ",
        "Digest nc=00000001",
        "Digest nc=00000002",
        "Basic ",
    ];
    assert_eq!(authorizations(&server), expected);
}

#[tokio::test]
async fn digest_nonce_is_used_again() {
    let server = FakeProvider::with_script(&[
        CHALLENGE, "await", "json 1", "await", "json 2", "await", "json 3",
    ]);
    let mut provider = default_provider_at(&server.url());
    provider.request.credentials = Some(credentials());
    let fetch = new_fetch();
    for expected in ["1", "2", "3"] {
        let payload = fetch_from(&fetch, &provider).await.unwrap();
        assert_eq!(payload.body, expected);
    }
    let expected = [
        "Basic ",
        "Digest nc=00000001",
        "Digest nc=00000002",
        "Digest nc=00000003",
    ];
    assert_eq!(authorizations(&server), expected);
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test]
async fn digest_uses_credentials_of_the_url() {
    let server = FakeProvider::with_script(&[CHALLENGE, "await", "json 1"]);
    let mut provider = default_provider_at(&server.url());
    provider.request.url.set_username("ad%20min").unwrap();
    provider.request.url.set_password(Some("s")).unwrap();
    fetch_from(&new_fetch(), &provider).await.unwrap();
    let head = server.request_heads().remove(1);
    assert!(
        head.contains(r#"Digest username="ad min", realm="cam", uri="/""#),
        "{head}"
    );
}

#[tokio::test]
async fn stale_nonce_is_replaced() {
    let stale = r#"head 401 | Content-Length: 0 | WWW-Authenticate: Digest realm="cam", nonce="n2", qop="auth", stale=true"#;
    let server = FakeProvider::with_script(&[
        CHALLENGE, "await", "json 1", "await", stale, "await", "json 2", "await", stale, "await",
        stale, "again",
    ]);
    let mut provider = default_provider_at(&server.url());
    provider.request.credentials = Some(credentials());
    let fetch = new_fetch();
    for expected in ["1", "2"] {
        assert_eq!(fetch_from(&fetch, &provider).await.unwrap().body, expected);
    }
    // One challenge for each attempt, whatever the server says.
    let error = fetch_from(&fetch, &provider).await.unwrap_err();
    assert_eq!(error.failure.code, Code::HttpStatus);
    assert_eq!(server.call_count(), 6);
}

#[tokio::test]
async fn wrong_password_ends_after_one_answer() {
    let server = FakeProvider::with_script(&[CHALLENGE, "again"]);
    let mut provider = default_provider_at(&server.url());
    provider.request.credentials = Some(credentials());
    let error = fetch_from(&new_fetch(), &provider).await.unwrap_err();
    assert_eq!(error.failure.code, Code::HttpStatus);
    assert_eq!(server.call_count(), 2);
}

#[tokio::test]
async fn configured_header_answers_no_challenge() {
    let server = FakeProvider::with_script(&[CHALLENGE, "again"]);
    let mut provider = default_provider_at(&server.url());
    provider.request.url.set_username("u").unwrap();
    provider.request.headers = vec![("Authorization".into(), "Token t".into())];
    fetch_from(&new_fetch(), &provider).await.unwrap_err();
    assert_eq!(server.call_count(), 1);
}

fn redirecting_provider(server: &FakeProvider) -> Provider {
    let mut provider = default_provider_at(&format!("{}a/b?c=d", server.url()));
    provider.request.follow_redirects = true;
    provider
}

fn request_lines(server: &FakeProvider) -> Vec<String> {
    let heads = server.request_heads();
    let lines = heads.iter().map(|head| head.lines().next().unwrap());
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn redirects_of_the_host_are_followed() {
    let redirect = "head 302 | Content-Length: 2 | Location: ../e?f=g#h";
    let server = FakeProvider::with_script(&[redirect, "send {}", "await", "json 1"]);
    let mut provider = redirecting_provider(&server);
    provider.request.headers = vec![("X-Key".into(), "k".into())];
    let payload = fetch_from(&new_fetch(), &provider).await.unwrap();
    assert_eq!(payload.body, "1");
    let expected = ["GET /a/b?c=d HTTP/1.1", "GET /e?f=g HTTP/1.1"];
    assert_eq!(request_lines(&server), expected);
    assert!(server.request_heads()[1].contains("X-Key: k\r\n"));
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test]
async fn redirected_post_loses_its_body() {
    for (status, method, body) in [
        ("303", "GET", ""),
        ("302", "GET", ""),
        ("307", "POST", "[1]"),
    ] {
        let redirect = format!("head {status} | Content-Length: 0 | Location: /e");
        let server = FakeProvider::with_scripts(&[&[&redirect], &["json 1"]]);
        let mut provider = redirecting_provider(&server);
        provider.request.method = "POST".into();
        provider.request.body = Some("[1]".into());
        fetch_from(&new_fetch(), &provider).await.unwrap();
        assert_eq!(request_lines(&server)[1], format!("{method} /e HTTP/1.1"));
        assert_eq!(server.request_bodies()[1], body);
        let has_type = server.request_heads()[1].contains("Content-Type");
        assert_eq!(has_type, method == "POST");
    }
}

#[tokio::test]
async fn redirects_end_after_three() {
    let server =
        FakeProvider::with_script(&["head 301 | Content-Length: 0 | Location: /loop", "again"]);
    let error = fetch_from(&new_fetch(), &redirecting_provider(&server))
        .await
        .unwrap_err();
    assert_eq!(error.failure.code, Code::RedirectBlocked);
    assert!(
        error.failure.message.contains("at most 3"),
        "{}",
        error.failure.message
    );
    assert_eq!(server.call_count(), 4);
}

#[tokio::test]
async fn redirect_to_another_host_is_blocked() {
    let other = FakeProvider::with_json("1");
    let redirect = format!(
        "head 307 | Content-Length: 0 | Location: {}?key=k",
        other.url()
    );
    let server = FakeProvider::with_script(&[&redirect, "again"]);
    let error = fetch_from(&new_fetch(), &redirecting_provider(&server))
        .await
        .unwrap_err();
    assert_eq!(error.failure.code, Code::RedirectBlocked);
    let message = &*error.failure.message;
    assert!(
        message.contains(&other.url()) && !message.contains("key"),
        "{message}"
    );
    assert_eq!(other.call_count(), 0);
}

#[tokio::test]
async fn redirects_are_blocked_by_default() {
    let server =
        FakeProvider::with_script(&["head 301 | Content-Length: 0 | Location: /e", "again"]);
    let provider = default_provider_at(&server.url());
    let error = fetch_from(&new_fetch(), &provider).await.unwrap_err();
    assert_eq!(error.failure.code, Code::RedirectBlocked);
    assert_eq!(server.call_count(), 1);
}

#[tokio::test]
async fn redirects_share_the_deadline() {
    let server = FakeProvider::with_script(&[
        "sleep 150ms",
        "head 301 | Content-Length: 0 | Location: /e",
        "again",
    ]);
    let deadline = Clock::start().deadline(Duration::from_millis(250));
    let fetch = new_fetch();
    let error = fetch
        .fetch(&redirecting_provider(&server), deadline.into())
        .await
        .unwrap_err();
    assert_eq!(error.failure.code, Code::Timeout);
    assert!(server.call_count() <= 2);
}
