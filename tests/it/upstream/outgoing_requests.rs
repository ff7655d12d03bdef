//! The bytes of a request to a provider, and the redaction of its secrets in messages.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resumen::config;
use resumen::domain::{Provider, Redactor, SecretSet};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;

async fn fetch_with_secrets(
    provider: &Provider,
    secrets: SecretSet,
) -> Result<Payload, FetchError> {
    let clock = Clock::start();
    HttpFetch::new(clock, Redactor::new(secrets))
        .fetch(provider, clock.deadline(Duration::from_secs(2)).into())
        .await
}

/// The request that a changed provider receives: its request line and its sorted headers.
async fn received_head(change: impl FnOnce(&mut Provider)) -> Vec<String> {
    let server = FakeProvider::with_script(&["json {}"]);
    let port = server.address.port();
    let mut provider =
        default_provider_at(&format!("http://127.0.0.1:{port}/a%20b?q=1&r=%2F#part"));
    change(&mut provider);
    fetch_with_secrets(&provider, SecretSet::default())
        .await
        .unwrap();
    let head = server
        .request_heads()
        .remove(0)
        .replace(&port.to_string(), "PORT");
    let mut lines: Vec<String> = head.trim_end().split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

#[tokio::test]
async fn default_request_headers() {
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "GET /a%20b?q=1&r=%2F HTTP/1.1".to_owned(),
        "Accept-Encoding: gzip, br, zstd".to_owned(),
        "Accept: application/json".to_owned(),
        "Host: 127.0.0.1:PORT".to_owned(),
        format!("User-Agent: resumen/{version}"),
    ];
    assert_eq!(received_head(|_| {}).await, expected);
}

#[tokio::test]
async fn configured_headers_override_defaults() {
    let lines = received_head(|provider| {
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
        "Accept-Encoding: identity",
        "Accept: text/csv",
        "Authorization: Basic dXNAZXI6cDp3",
        "Content-Length: 3",
        "Content-Type: application/json",
        "Host: 127.0.0.1:PORT",
        "User-Agent: me",
        "X-Key: k",
        "X-Key: l",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn authorization_overrides_userinfo() {
    let lines = received_head(|provider| {
        provider.request.url.set_username("user").unwrap();
        provider.request.headers = vec![("authorization".into(), "Bearer t".into())];
    })
    .await;
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("Authorization"))
            .collect::<Vec<_>>(),
        ["Authorization: Bearer t"]
    );
}

/// The request line, headers and body that a provider receives from a source with these keys, and the configuration's
/// warnings.
async fn received_request(keys: &str) -> (String, Vec<String>) {
    let server = FakeProvider::with_script(&["json {}"]);
    let base = format!("http://127.0.0.1:{}", server.address.port());
    let with_userinfo = base.replace("//", "//u:p@");
    let keys = keys
        .replace("BASE", &base)
        .replace("USERINFO", &with_userinfo);
    let text = format!("[sources.a]\n{keys}");
    let variables = |name: &str| Some(format!("a&{name}=+%#é"));
    let config = config::parse(Path::new("test.toml"), text.as_bytes(), &variables)
        .unwrap_or_else(|error| panic!("{error}"));
    let provider = &config.sources[0].providers()[0];
    fetch_with_secrets(provider, config.secrets.clone())
        .await
        .unwrap();
    let warnings = config
        .warnings
        .iter()
        .map(|warning| warning.message.clone());
    let request = server.request_heads().remove(0) + &server.request_bodies().remove(0);
    (request, warnings.collect())
}

#[tokio::test]
async fn query_values_are_encoded() {
    let keys = r#"
        url = "BASE/p?x=1"
        query = { key = "${K}", "a b" = ["1", 2, true, 1.50], c = "São Paulo" }"#;
    let (request, warnings) = received_request(keys).await;
    let expected = "GET /p?x=1&key=a%26K%3D%2B%25%23%C3%A9&a%20b=1&a%20b=2&a%20b=true&a%20b=1.50\
                    &c=S%C3%A3o%20Paulo HTTP/1.1\r\n";
    assert!(request.starts_with(expected), "{request}");
    assert_eq!(warnings, Vec::<String>::new());
}

#[tokio::test]
async fn form_is_a_post() {
    let keys = r#"
        url = "BASE/login"
        form = { user = "${U}", n = 1, list = ["a", "b c"] }"#;
    let (request, _) = received_request(keys).await;
    assert!(request.starts_with("POST /login HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    assert!(
        request.ends_with("user=a%26U%3D%2B%25%23%C3%A9&n=1&list=a&list=b+c"),
        "{request}"
    );
}

#[tokio::test]
async fn dates_are_those_of_the_request() {
    let keys = r#"
        url = "BASE/${date:%Y/%Y}/x?since=${date-1d:%s}"
        headers = { X-Year = "${date:%Y}" }
        query = { at = "${date:%Y-%m-%dT%H:%M:%S%:z}" }
        timezone = "Asia/Tokyo"
        method = "POST"
        body = '{"year": ${date:%Y}}'"#;
    let (request, _) = received_request(keys).await;
    let now = jiff::Timestamp::from_millisecond(Clock::start().now().as_millis()).unwrap();
    let year = now.in_tz("Asia/Tokyo").unwrap().year();
    assert!(
        request.starts_with(&format!("POST /{year}/{year}/x?since=")),
        "{request}"
    );
    assert!(
        request.contains("&at=20") && request.contains("%2B09%3A00 HTTP"),
        "{request}"
    );
    assert!(
        request.contains(&format!("X-Year: {year}\r\n")),
        "{request}"
    );
    assert!(
        request.ends_with(&format!("{{\"year\": {year}}}")),
        "{request}"
    );
}

#[tokio::test]
async fn credentials_are_sent_as_they_are() {
    let keys = "url = \"BASE/\"\nusername = \"admin\"\npassword = '${P}'";
    let (request, _) = received_request(keys).await;
    let expected = STANDARD.encode("admin:a&P=+%#é");
    assert!(
        request.contains(&format!("Authorization: Basic {expected}\r\n")),
        "{request}"
    );
}

#[tokio::test]
async fn nearer_credentials_replace_inherited_ones() {
    let authorization = async |keys: &str| {
        let keys = format!("{keys}\n[defaults]\nusername = \"outer\"\npassword = \"word\"");
        let (request, _) = received_request(&keys).await;
        let mut lines = request.lines();
        lines
            .find_map(|line| line.strip_prefix("Authorization: ").map(str::to_owned))
            .unwrap()
    };
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert_eq!(authorization(r#"url = "BASE/""#).await, basic("outer:word"));
    let keys = "url = \"BASE/\"\nusername = \"inner\"";
    assert_eq!(authorization(keys).await, basic("inner:word"));
    let keys = "url = \"BASE/\"\nheaders = { authorization = \"Bearer of-the-source\" }";
    assert_eq!(authorization(keys).await, "Bearer of-the-source");
    assert_eq!(authorization(r#"url = "USERINFO/""#).await, basic("u:p"));
}

/// What stands beside a date in a value is as secret as a value without one.
#[test]
fn literals_beside_dates_are_secrets() {
    let text = r#"[sources.a]
        url = "https://api.example.org/?key=secret-of-url${date:%Y}"
        query = { q = "secret-of-query${date:%Y}" }
        headers = { Authorization = "Bearer secret-of-header${date:%Y}" }"#;
    let config = config::parse(Path::new("test.toml"), text.as_bytes(), &|_| None).unwrap();
    let redactor = Redactor::new(config.secrets.clone());
    let echoed = redactor.redact("secret-of-url2026 secret-of-query2026 secret-of-header2026");
    assert_eq!(echoed, "***2026 ***2026 ***2026");
}

#[tokio::test]
async fn breaking_values_in_urls_give_warnings() {
    let (_, warnings) = received_request(r#"url = "BASE/p?key=${K}""#).await;
    let expected =
        "the environment variable `K` contains `&`, which ends or changes a value in a URL";
    assert_eq!(warnings[0], expected);
}

#[tokio::test]
async fn method_with_a_body_sends_its_length() {
    for (method, length) in [
        ("GET", None),
        ("HEAD", None),
        ("POST", Some("Content-Length: 0")),
        ("PUT", Some("Content-Length: 0")),
        ("PATCH", Some("Content-Length: 0")),
    ] {
        let server = FakeProvider::with_script(&["json {}"]);
        let mut provider = default_provider_at(&server.url());
        provider.request.method = method.into();
        let _ = fetch_with_secrets(&provider, SecretSet::default()).await;
        let head = server.request_heads().remove(0);
        let sent = head.lines().find(|line| line.starts_with("Content-Length"));
        assert_eq!(sent, length, "{method}");
        assert!(head.lines().nth(1).unwrap().starts_with("Host: "), "{head}");
    }
}

#[tokio::test]
async fn echoed_secret_is_redacted() {
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
    let scripts: [&[&str]; 6] = [
        &[
            "head 500 | Content-Length: 1000",
            &format!("send {filler} canary-hea"),
            "stall",
        ],
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
    for script in scripts {
        let server = FakeProvider::with_script(script);
        let url = format!(
            "http://canary-user:canary-word@{}/?key=canary-query",
            server.address
        );
        let mut provider = default_provider_at(&url);
        provider.request.headers = vec![("X-Api-Key".into(), "canary-head".into())];
        let error = fetch_with_secrets(&provider, SecretSet::new(secrets.clone()))
            .await
            .unwrap_err();
        let message = &error.failure.message;
        assert!(!message.contains("canary"), "{message}");
        assert!(!format!("{error:?} {provider:?}").contains("canary"));
    }
}

#[tokio::test]
async fn old_secrets_are_redacted() {
    let server = FakeProvider::with_script(&[
        "head 500 | Content-Type: application/problem+json",
        "send {\"title\":\"oldest-secret old-secret new-secret\"}",
    ]);
    let clock = Clock::start();
    let redactor = Redactor::default();
    let fetch = HttpFetch::new(clock, redactor.clone());
    for secret in ["oldest-secret", "old-secret", "new-secret"] {
        redactor.replace_secrets(SecretSet::new([secret.to_owned()]));
    }
    let provider = default_provider_at(&server.url());
    let error = fetch
        .fetch(&provider, clock.deadline(Duration::from_secs(2)).into())
        .await
        .unwrap_err();
    assert_eq!(
        &*error.failure.message,
        "HTTP 500 Internal Server Error: \"oldest-secret *** ***\""
    );
}
