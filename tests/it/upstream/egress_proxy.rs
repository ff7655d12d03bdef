//! Requests through an egress proxy.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use resumen::domain::{Code, EgressProxy, Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload, ResolveFn};
use resumen::process::Clock;
use url::Url;

use crate::support::child_process::{ProcessOutput, TestProcess};
use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::test_certificates::test_ca_pem;
use crate::support::service_process::ServiceFolder;

/// A provider at `url` behind `proxy`. `userinfo` is `USER:PASSWORD@` or empty.
fn provider_through_proxy(proxy: &FakeProvider, userinfo: &str, url: &str) -> Provider {
    let mut provider = default_provider_at(url);
    let proxy: Url = format!("http://{userinfo}{}", proxy.address)
        .parse()
        .unwrap();
    provider.request.proxy = EgressProxy {
        http: Some(proxy.clone()),
        https: Some(proxy),
    };
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
            // Apart, the bytes could also be the first ones of the handshake.
            &["send HTTP/1.1 200 OK\\r\\n\\r\\nearly", "stall"],
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
        "http://metadata.google.internal/",
        "https://METADATA.tencentyun.com./",
    ] {
        let mut provider = provider_through_proxy(&proxy, "", url);
        provider.request.allow_private = true;
        let failure = fetch_once(&provider).await.unwrap_err().failure;
        assert_eq!(failure.code, Code::DestinationBlocked, "{failure}");
    }
    assert_eq!(proxy.connection_count(), 0);
}

/// Fetches `http://far.test/` through `proxy`, where a lookup on this machine gives `addresses`, or no answer.
async fn fetch_with_lookup(
    proxy: &FakeProvider,
    allow_private: bool,
    addresses: Option<&'static [&'static str]>,
) -> Result<Payload, FetchError> {
    let resolve: ResolveFn = Arc::new(move |_| {
        Box::pin(async move {
            match addresses {
                None => std::future::pending().await,
                Some([]) => Err(std::io::Error::other("no such name")),
                Some(found) => Ok(found.iter().map(|ip| ip.parse().unwrap()).collect()),
            }
        })
    });
    let clock = Clock::start();
    let deadline = clock.deadline(Duration::from_secs(2));
    let fetch = HttpFetch::with_resolver(clock, Redactor::default(), resolve);
    let mut provider = provider_through_proxy(proxy, "", "http://far.test/");
    provider.request.allow_private = allow_private;
    fetch.fetch(&provider, deadline.into()).await
}

#[tokio::test]
async fn proxied_name_is_looked_up() {
    let proxy = FakeProvider::with_script(&["json {}"]);
    let blocked: [(bool, &[&str], &str); 4] = [
        (false, &["8.8.8.8", "10.0.0.1"], "a private address"),
        (true, &["169.254.169.254"], "a cloud metadata address"),
        (true, &["fd00:42::42"], "a cloud metadata address"),
        (true, &["169.254.1.1"], "a link-local address"),
    ];
    for (allow_private, addresses, says) in blocked {
        let fetched = fetch_with_lookup(&proxy, allow_private, Some(addresses)).await;
        let failure = fetched.unwrap_err().failure;
        assert_eq!(failure.code, Code::DestinationBlocked, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
    }
    assert_eq!(proxy.connection_count(), 0);
}

#[tokio::test]
async fn proxy_decides_without_lookup_result() {
    let proxy = FakeProvider::with_script(&["json {}"]);
    let permitted: [(bool, Option<&[&str]>); 4] = [
        (false, Some(&["8.8.8.8"])),
        (true, Some(&["10.0.0.1"])),
        (false, Some(&[])),
        (false, None),
    ];
    for (allow_private, addresses) in permitted {
        let fetched = fetch_with_lookup(&proxy, allow_private, addresses).await;
        assert!(fetched.is_ok(), "{fetched:?} with {addresses:?}");
    }
}

/// Runs `once` with `config` and these variables, and no other proxy variable. Returns all that it writes.
fn run_once(config: &str, variables: &[(&str, &str)]) -> ProcessOutput {
    let folder = ServiceFolder::new(config);
    fs::write(folder.path().join("ca.pem"), test_ca_pem()).unwrap();
    let mut command = folder.command("once", &[]);
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.env("RESUMEN_LOG", "trace");
    command.envs(variables.iter().copied());
    TestProcess::start(&mut command).wait_for_exit()
}

#[test]
fn environment_selects_the_proxy() {
    let target = FakeProvider::with_tls(&["json {\"far\":true}", "again"]);
    let tunnel = FakeProvider::with_script(&[&format!("tunnel {}", target.address)]);
    let proxy = FakeProvider::with_json("{\"proxied\":true}");
    let direct = FakeProvider::with_json("{\"direct\":true}");
    let config = format!(
        "[defaults]\nproxy = 'env'\n\
         [sources.plain]\nurl = 'http://far.test/plain'\n\
         [sources.secure]\nurl = 'https://secure.test:444/'\nca_file = 'ca.pem'\n\
         [sources.near]\nurl = 'http://{direct}/near'\n\
         [sources.unset]\nproxy = ''\nurl = 'http://localhost:{port}/unset'\n",
        direct = direct.address,
        port = direct.address.port(),
    );
    let http = format!("http://proxy-user:proxy%20secret@{}", proxy.address);
    // Without a scheme, as curl accepts it.
    let https = format!("tunnel-user:tunnel-secret@{}/", tunnel.address);
    let variables = [
        ("HTTP_PROXY", http.as_str()),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("https_proxy", &https),
        ("NO_PROXY", "example.org,127.0.0.0/8"),
    ];
    let output = run_once(&config, &variables);
    assert_eq!(output.exit_code, Some(0), "{output:?}");
    assert_eq!((proxy.call_count(), direct.call_count()), (1, 2));
    let head = proxy.request_heads().remove(0);
    let credentials = STANDARD.encode("proxy-user:proxy secret");
    let is_absolute = head.starts_with("GET http://far.test/plain HTTP/1.1\r\n");
    assert!(is_absolute && head.contains(&credentials), "{head}");
    let connect = tunnel.request_heads().remove(0);
    let credentials = STANDARD.encode("tunnel-user:tunnel-secret");
    let is_connect = connect.starts_with("CONNECT secure.test:444 ");
    assert!(is_connect && connect.contains(&credentials), "{connect}");
}

#[test]
fn environment_is_not_read_by_default() {
    let provider = FakeProvider::with_json("{}");
    let config = format!("[sources.a]\nurl = 'http://{}/'", provider.address);
    let variables = ["http_proxy", "HTTP_PROXY"].map(|name| (name, "http://127.0.0.1:1"));
    assert_eq!(run_once(&config, &variables).exit_code, Some(0));
}

#[test]
fn environment_credentials_are_masked() {
    let echo = "send no access for proxy-user with proxy-sec/ret or proxy-sec%2Fret";
    let proxy = FakeProvider::with_script(&["head 403", echo, "close"]);
    let config = "[defaults]\nproxy = 'env'\n[sources.a]\nurl = 'http://far.test/'\n";
    let url = format!("http://proxy-user:proxy-sec%2Fret@{}", proxy.address);
    let output = run_once(config, &[("http_proxy", &url)]);
    assert_eq!(output.exit_code, Some(1), "{output:?}");
    let text = output.stdout + &output.stderr;
    assert!(text.contains("no access for *** with *** or ***"), "{text}");
    let encoded = STANDARD.encode("proxy-user:proxy-sec/ret");
    for secret in ["proxy-user", "proxy-sec", &encoded] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn invalid_variable_is_named() {
    let config = "[sources.a]\nproxy = 'env'\nurl = 'http://far.test/'\n";
    for (value, says) in [
        ("socks5://user:proxy-secret@p:1080", "the scheme `socks5`"),
        (
            "https://user:proxy-secret@p:3128",
            "did you mean `http://`?",
        ),
        ("user:proxy-secret@p:99999", "invalid port number"),
        (
            "http://user:proxy-secret@p:3128/pac",
            "neither path nor query",
        ),
    ] {
        let output = run_once(config, &[("http_proxy", value)]);
        assert_eq!(output.exit_code, Some(2), "{output:?}");
        let text = output.stderr;
        let is_told = text.contains("`http_proxy`") && text.contains("resumen.toml:2:9");
        assert!(is_told && text.contains(says), "{text}");
        assert!(!text.contains("proxy-secret"), "{text}");
    }
}
