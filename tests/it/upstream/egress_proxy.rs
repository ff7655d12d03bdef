//! Requests through an egress proxy.

use std::time::Duration;

use resumen::domain::{Code, EgressProxy, Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::test_certificates::test_ca_pem;

/// A provider at `url` behind `proxy`. `userinfo` is `USER:PASSWORD@` or empty.
fn provider_through_proxy(proxy: &FakeProvider, userinfo: &str, url: &str) -> Provider {
    let mut provider = default_provider_at(url);
    let proxy = format!("http://{userinfo}{}", proxy.address);
    provider.request.proxy = Some(EgressProxy(proxy.parse().unwrap()));
    provider.request.tls.ca_pem = Some(test_ca_pem().into());
    provider
}

async fn fetch_once(provider: &Provider) -> Result<Payload, FetchError> {
    let clock = Clock::start();
    let deadline = clock.deadline(Duration::from_millis(500));
    let fetch = HttpFetch::new(clock, Redactor::default());
    fetch.fetch(provider, deadline.into()).await
}

#[tokio::test]
async fn plain_request_uses_absolute_form() {
    let proxy = FakeProvider::with_script(&["json {}"]);
    let url = "http://user@far.test/path?q=1";
    let provider = provider_through_proxy(&proxy, "me:pass@", url);
    fetch_once(&provider).await.unwrap();
    let head = proxy.request_heads().remove(0);
    assert!(
        head.starts_with("GET http://far.test/path?q=1 HTTP/1.1\r\n"),
        "{head}"
    );
    for line in [
        "Host: far.test",
        "Proxy-Authorization: Basic bWU6cGFzcw==",
        "Authorization: Basic dXNlcjo=",
    ] {
        assert!(
            head.split("\r\n").any(|l| l == line),
            "{line} is not in {head}"
        );
    }
}

#[tokio::test]
async fn tls_uses_connect_tunnel() {
    let target = FakeProvider::with_tls(&["json {\"far\":true}", "again"]);
    let proxy = FakeProvider::with_script(&[&format!("tunnel {}", target.address)]);
    let provider = provider_through_proxy(&proxy, "me:pass@", "https://secure.test:444/");
    assert_eq!(fetch_once(&provider).await.unwrap().body, "{\"far\":true}");
    let connect = proxy.request_heads().remove(0);
    let is_connect = connect.starts_with("CONNECT secure.test:444 HTTP/1.1\r\n");
    let credentials = "Proxy-Authorization: Basic bWU6cGFzcw==";
    assert!(is_connect && connect.contains(credentials), "{connect}");
    let head = target.request_heads().remove(0);
    let is_get = head.starts_with("GET / HTTP/1.1\r\n");
    assert!(is_get && !head.to_lowercase().contains("proxy"), "{head}");
}

#[tokio::test]
async fn refused_tunnel_is_connect_failure() {
    let cases: [(&[&str], Code, &str); 7] = [
        (
            &["head 407 | Content-Length: 0"],
            Code::ConnectFailed,
            "(HTTP 407): it requires a user and a password in `proxy`",
        ),
        (
            &["head 502 | Content-Length: 4", "send oops"],
            Code::ConnectFailed,
            "the proxy gave no tunnel",
        ),
        (&["close"], Code::ConnectFailed, "the proxy gave no tunnel"),
        (
            &["send garbage\\r\\n\\r\\n"],
            Code::ConnectFailed,
            "the proxy gave no tunnel",
        ),
        (
            &["head 200", "send early", "stall"],
            Code::ConnectTimeout,
            "(in the TLS handshake)",
        ),
        (
            &["head 200", "stall"],
            Code::ConnectTimeout,
            "no answer within 500 ms (in the TLS handshake)",
        ),
        (
            &["stall"],
            Code::ConnectTimeout,
            "no answer within 500 ms (connecting, or waiting for the proxy's tunnel)",
        ),
    ];
    for (script, code, says) in cases {
        let proxy = FakeProvider::with_script(script);
        let provider = provider_through_proxy(&proxy, "", "https://far.test/");
        let failure = fetch_once(&provider).await.unwrap_err().failure;
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
    }
}

#[tokio::test]
async fn absent_proxy_has_its_own_message() {
    let proxy = FakeProvider::with_closed_port();
    let provider = provider_through_proxy(&proxy, "", "http://far.test/");
    let failure = fetch_once(&provider).await.unwrap_err().failure;
    assert_eq!(failure.code, Code::ConnectRefused);
    assert!(
        failure.message.starts_with("on the way to the proxy: "),
        "{failure}"
    );
}

#[tokio::test]
async fn proxied_metadata_address_is_blocked() {
    let proxy = FakeProvider::with_script(&["json {}"]);
    for url in [
        "http://169.254.169.254/latest",
        "https://[::ffff:a9fe:a9fe]/",
    ] {
        let provider = provider_through_proxy(&proxy, "", url);
        let failure = fetch_once(&provider).await.unwrap_err().failure;
        assert_eq!(failure.code, Code::DestinationBlocked, "{failure}");
    }
    assert_eq!(proxy.connection_count(), 0);
}
