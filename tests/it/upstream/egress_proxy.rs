//! Requests through an egress proxy.

use std::time::Duration;

use resumen::domain::{Code, EgressProxy, Provider, SecretSet};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::faulty_provider::test_certificates::{CertificateKind, test_ca_pem};
use crate::support::faulty_provider::{FaultPlan, FaultyProvider};

async fn start_scripted_proxy(script: &[&str], tls: Option<CertificateKind>) -> FaultyProvider {
    FaultyProvider::start(FaultPlan {
        scripts: vec![FaultScript::parse(script)],
        tls,
        is_http2: false,
        prelude: None,
    })
    .await
}

fn provider_through_proxy(proxy: &str, url: &str) -> Provider {
    let mut provider = default_provider_at(url);
    provider.request.proxy = Some(EgressProxy(proxy.parse().unwrap()));
    provider.request.ca_pem = Some(test_ca_pem().into());
    provider
}

async fn fetch_once(provider: &Provider) -> Result<Payload, FetchError> {
    let clock = Clock::start();
    let limit = Duration::from_millis(500);
    HttpFetch::new(clock, SecretSet::default())
        .fetch(provider, clock.deadline(limit).into())
        .await
}

#[tokio::test]
async fn plain_request_uses_absolute_form() {
    let proxy = start_scripted_proxy(&["json {}"], None).await;
    let provider = provider_through_proxy(
        &format!("http://me:pass@{}", proxy.address),
        "http://user@far.test/path?q=1",
    );
    fetch_once(&provider).await.unwrap();
    let head = proxy.counters.request_heads().remove(0);
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
    let target = start_scripted_proxy(
        &["json {\"far\":true}", "again"],
        Some(CertificateKind::Good),
    )
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let far = target.address;
    let mut tunnels = JoinSet::new();
    tunnels.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let head = read_head(&mut near).await;
        near.try_write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .unwrap();
        let _ = copy_bidirectional(&mut near, &mut TcpStream::connect(far).await.unwrap()).await;
        assert!(
            head.starts_with("CONNECT secure.test:444 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(
            head.contains("Proxy-Authorization: Basic bWU6cGFzcw=="),
            "{head}"
        );
    });
    let provider = provider_through_proxy(
        &format!("http://me:pass@{proxy}"),
        "https://secure.test:444/",
    );
    assert_eq!(fetch_once(&provider).await.unwrap().0, "{\"far\":true}");
    let head = target.counters.request_heads().remove(0);
    assert!(
        head.starts_with("GET / HTTP/1.1\r\n") && !head.to_lowercase().contains("proxy"),
        "{head}"
    );
    tunnels.join_next().await.unwrap().unwrap();
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.readable().await.unwrap();
        let _ = stream.try_read_buf(&mut head);
    }
    String::from_utf8(head).unwrap()
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
        let proxy = start_scripted_proxy(script, None).await;
        let failure = fetch_once(&provider_through_proxy(
            &format!("http://{}", proxy.address),
            "https://far.test/",
        ))
        .await
        .unwrap_err()
        .failure;
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
    }
}

#[tokio::test]
async fn absent_proxy_has_its_own_message() {
    let proxy = FaultyProvider::with_closed_port();
    let failure = fetch_once(&provider_through_proxy(
        &format!("http://{}", proxy.address),
        "http://far.test/",
    ))
    .await
    .unwrap_err()
    .failure;
    assert_eq!(failure.code, Code::ConnectRefused);
    assert!(
        failure.message.starts_with("on the way to the proxy: "),
        "{failure}"
    );
}

#[tokio::test]
async fn proxied_metadata_address_is_blocked() {
    let proxy = start_scripted_proxy(&["json {}"], None).await;
    for url in [
        "http://169.254.169.254/latest",
        "https://[::ffff:a9fe:a9fe]/",
    ] {
        let failure = fetch_once(&provider_through_proxy(
            &format!("http://{}", proxy.address),
            url,
        ))
        .await
        .unwrap_err()
        .failure;
        assert_eq!(failure.code, Code::DestinationBlocked, "{failure}");
    }
    assert_eq!(proxy.counters.connection_count(), 0);
}
