//! `[auth.NAME]` on real sockets: logins that fail in every way, sessions, renewal, refresh tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use resumen::auth::AuthorizedFetch;
use resumen::config::Config;
use resumen::domain::{Code, Redactor};
use resumen::extract::Extractor;
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload};
use resumen::process::Clock;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::support::child_process::run_program;
use crate::support::login_server::{LoginRequest, LoginServer, response};
use crate::support::test_app::{TestApp, parse_test_config};

/// A client with the authentications of a configuration.
struct SessionClient {
    fetch: AuthorizedFetch,
    config: Config,
    redactor: Redactor,
}

impl SessionClient {
    fn new(text: &str) -> Self {
        Self::with_max_per_host(text, usize::MAX)
    }

    fn with_max_per_host(text: &str, max_per_host: usize) -> Self {
        let config = parse_test_config(text);
        let redactor = Redactor::new(config.secrets.clone());
        let clock = Clock::start();
        let fetch = HttpFetch::new(clock, redactor.clone());
        fetch.set_max_per_host(max_per_host);
        let fetch = AuthorizedFetch::new(
            Arc::new(fetch),
            Extractor::new(env!("CARGO_BIN_EXE_resumen").into(), redactor.clone()),
            redactor.clone(),
            clock,
            TaskTracker::new(),
        );
        fetch.replace_auths(&config.auths);
        Self {
            fetch,
            config,
            redactor,
        }
    }

    async fn fetch_within(&self, millis: u64) -> Result<Payload, FetchError> {
        let provider = &self.config.sources[0].providers()[0];
        let deadline = Clock::start().deadline(Duration::from_millis(millis));
        self.fetch.fetch(provider, deadline.into()).await
    }

    async fn fetch_body(&self) -> String {
        let payload = self.fetch_within(3000).await.unwrap();
        String::from_utf8(payload.body.to_vec()).unwrap()
    }

    async fn fetch_failure(&self) -> (Code, String) {
        let error = self.fetch_within(3000).await.unwrap_err();
        (error.failure.code, error.failure.message.to_string())
    }
}

/// A configuration with a source `a` and a login with these keys.
fn config_text(server: &LoginServer, login: &str) -> String {
    format!(
        "[store]\npath = ''\n\
         [sources.a]\nurl = '{}'\nauth = 'bank'\n\
         [auth.bank]\nurl = '{}'\n{login}\n",
        server.url("/api"),
        server.url("/login"),
    )
}

const TOKEN_LOGIN: &str = "form = { client_secret = 'configured-secret' }\n\
     extract = '{token: .access_token, expires_in: .expires_in}'";

/// A server whose `/login` gives the tokens `token-1-value`, `token-2-value`, …, and whose `/api` takes the token of the
/// login that `is_valid` accepts, by its number and that of the last one.
fn token_server(
    expires_in: &'static str,
    is_valid: impl Fn(usize, usize) -> bool + Send + Sync + 'static,
) -> LoginServer {
    let logins = AtomicUsize::new(0);
    LoginServer::start(move |request| {
        if request.is_for("/login") {
            let number = logins.fetch_add(1, SeqCst) + 1;
            let body = format!(
                r#"{{"access_token":"token-{number}-value","token_type":"Bearer","expires_in":{expires_in}}}"#
            );
            return response("200 OK", "", &body);
        }
        let token = request.header("authorization").unwrap_or_default();
        let number = token
            .strip_prefix("Bearer token-")
            .and_then(|rest| rest.strip_suffix("-value"))
            .map_or(0, |number| number.parse().unwrap());
        if is_valid(number, logins.load(SeqCst)) {
            response("200 OK", "", &number.to_string())
        } else {
            let body = format!(r#"{{"error":"{token} is not valid"}}"#);
            response("401 Unauthorized", "", &body)
        }
    })
}

#[test]
fn sources_share_one_login() {
    let server = token_server("3600", |number, _| number > 0);
    let source = |n| {
        format!(
            "[sources.s{n}]\nurl = '{}'\nauth = 'bank'\n",
            server.url("/api")
        )
    };
    let sources = (0..10).map(source).collect::<Vec<_>>().concat();
    let text = config_text(&server, TOKEN_LOGIN) + &sources;
    let app = TestApp::start(&text);
    app.wait_for_json("/resumen?timeout=2", |answer| {
        let sources = answer["resultados"].as_object().unwrap();
        sources.values().all(|source| source["data"] == 1)
    });
    let logins = server.requests_for("/login");
    assert_eq!(logins.len(), 1);
    assert!(logins[0].line.starts_with("POST /login "));
    assert_eq!(logins[0].body, "client_secret=configured-secret");
    assert_eq!(logins[0].header("authorization"), None);
}

#[test]
fn login_does_not_wait_for_a_source_of_its_name() {
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            // Meanwhile the filter of the source has begun.
            std::thread::sleep(Duration::from_millis(500));
        }
        response("200 OK", "", r#"{"access_token":"token-value"}"#)
    });
    let text = config_text(&server, TOKEN_LOGIN)
        + &format!(
            "[sources.bank]\nurl = '{}'\nextract = 'last(range(1e15))'\ntimeout = '15s'\n",
            server.url("/slow")
        );
    let app = TestApp::start(&text);
    let answer = app.wait_for_json("/resumen", |answer| {
        answer["resultados"]["a"]["code"] != "pending"
    });
    assert_eq!(answer["resultados"]["a"]["ok"], true, "{answer}");
}

#[tokio::test]
async fn failed_logins_are_explained() {
    let ok = |body: &str| response("200 OK", "", body);
    let status = |status: &str, body: &str| response(status, "", body);
    let refused = r#"{"error":"invalid_client","error_description":"unknown client"}"#;
    let cases: [(String, &[&str]); 14] = [
        (
            status("401 Unauthorized", refused),
            &["HTTP 401 Unauthorized", "unknown client", "in 60 s"],
        ),
        (status("400 Bad Request", refused), &["unknown client"]),
        (status("500 Internal Server Error", ""), &["HTTP 500"]),
        (
            response("429 Too Many Requests", "Retry-After: 600\r\n", ""),
            &["HTTP 429", "in 600 s"],
        ),
        (
            status("503 Service Unavailable", ""),
            &["HTTP 503", "in 5 s"],
        ),
        (
            response("302 Found", "Location: /portal\r\n", ""),
            &["HTTP 302", "/portal"],
        ),
        (String::new(), &["closed"]),
        ("nonsense".into(), &["HTTP"]),
        (ok("<html>Sign in</html>"), &["its answer is HTML or XML"]),
        (ok(""), &["body is empty"]),
        (
            ok(r#"{"error":"bad credentials"}"#),
            &["finds no fields", "it has `error`", "bad credentials"],
        ),
        (
            ok(r#"{"accessToken":"unexpected-token","expires_in":60}"#),
            &["the answer has no token", "`accessToken`"],
        ),
        (
            ok(r#"{"access_token":{"value":"unexpected-token"}}"#),
            &["the field `token` is neither"],
        ),
        (ok(r#"["unexpected-token"]"#), &["finds no fields"]),
    ];
    for (answer, expected) in cases {
        let shown = answer.clone();
        let server = LoginServer::start(move |_| answer.clone());
        let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
        for _ in 0..2 {
            let (code, message) = client.fetch_failure().await;
            assert_eq!(code, Code::AuthFailed, "{shown}");
            let is_named = message.starts_with("the login of `[auth.bank]` failed: ");
            assert!(is_named, "{shown}: {message}");
            for text in expected {
                assert!(message.contains(text), "{shown}: {message}");
            }
            assert!(!message.contains("unexpected-token"), "{message}");
            assert!(!message.contains("configured-secret"), "{message}");
        }
        assert_eq!(server.requests_for("/login").len(), 1, "{shown}");
        assert!(server.requests_for("/api").is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn unreachable_login_is_told() {
    let server = LoginServer::start(|_| String::new());
    let login = "extract = '.'\ntimeout = '1s'\n";
    let text = config_text(&server, login);
    let text = text.replace(&server.url("/login"), "http://127.0.0.1:1/");
    let (code, message) = SessionClient::new(&text).fetch_failure().await;
    assert_eq!(code, Code::AuthFailed);
    assert!(
        message.contains("refused") && message.contains("in 5 s"),
        "{message}"
    );
}

#[tokio::test]
async fn odd_lifetimes_do_not_repeat_logins() {
    for expires_in in [
        "0",
        "-1",
        "null",
        "1e300",
        "99999999999999999999",
        "\"soon\"",
    ] {
        let server = token_server(expires_in, |number, _| number == 1);
        let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
        for _ in 0..3 {
            assert_eq!(client.fetch_body().await, "1", "{expires_in}");
        }
        assert_eq!(server.requests_for("/login").len(), 1, "{expires_in}");
    }
}

#[tokio::test]
async fn expired_token_is_renewed() {
    let server = token_server("1", |number, last| number == last);
    let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
    assert_eq!(client.fetch_body().await, "1");
    assert_eq!(client.fetch_body().await, "1");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(client.fetch_body().await, "2");
    assert_eq!(server.requests_for("/login").len(), 2);
}

#[tokio::test]
async fn session_shorter_than_its_login_is_used() {
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            std::thread::sleep(Duration::from_millis(300));
            let answer = r#"{"access_token":"token-value","expires_in":0.1}"#;
            return response("200 OK", "", answer);
        }
        response("200 OK", "", "1")
    });
    let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
    let calls = [client.fetch_body(), client.fetch_body()];
    let [first, second] = calls.map(Box::pin);
    assert_eq!(tokio::join!(first, second), ("1".into(), "1".into()));
    assert_eq!(server.requests_for("/login").len(), 1);
}

#[tokio::test]
async fn login_outlives_its_waiter() {
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            std::thread::sleep(Duration::from_millis(400));
            return response("200 OK", "", r#"{"access_token":"token-value"}"#);
        }
        response("200 OK", "", "1")
    });
    let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
    let failure = client.fetch_within(100).await.unwrap_err().failure;
    assert_eq!(failure.code, Code::Timeout);
    assert_eq!(
        &*failure.message,
        "no answer within 100 ms (waiting for the login of `[auth.bank]`)"
    );
    assert_eq!(client.fetch_body().await, "1");
    assert_eq!(server.requests_for("/login").len(), 1);
}

#[tokio::test]
async fn slow_login_ends_at_its_own_timeout() {
    let server = LoginServer::start(|_| {
        std::thread::sleep(Duration::from_secs(5));
        String::new()
    });
    let login = format!("{TOKEN_LOGIN}\ntimeout = '200ms'");
    let client = SessionClient::new(&config_text(&server, &login));
    let (code, message) = client.fetch_failure().await;
    assert_eq!(code, Code::AuthFailed);
    assert!(message.contains("no answer within 200 ms"), "{message}");
}

#[tokio::test]
async fn refused_token_is_renewed_once() {
    // As after a restart of the server: it knows the tokens of later logins only.
    let server = token_server("3600", |number, _| number >= 2);
    let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
    assert_eq!(client.fetch_body().await, "2");
    assert_eq!(client.fetch_body().await, "2");
    assert_eq!(server.requests_for("/login").len(), 2);

    let never = token_server("3600", |_, _| false);
    let client = SessionClient::new(&config_text(&never, TOKEN_LOGIN));
    for _ in 0..3 {
        let (code, message) = client.fetch_failure().await;
        assert_eq!(code, Code::HttpStatus);
        assert!(message.contains("Bearer *** is not valid"), "{message}");
    }
    // One call was repeated.
    assert_eq!(never.requests_for("/login").len(), 2);
    assert_eq!(never.requests_for("/api").len(), 4);
}

#[tokio::test]
async fn failed_renewal_is_the_failure() {
    let logins = AtomicUsize::new(0);
    let server = LoginServer::start(move |request| {
        if request.is_for("/login") && logins.fetch_add(1, SeqCst) == 0 {
            return response("200 OK", "", r#"{"access_token":"token-value"}"#);
        }
        response("403 Forbidden", "", r#"{"message":"account is locked"}"#)
    });
    let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
    for _ in 0..3 {
        let (code, message) = client.fetch_failure().await;
        assert_eq!(code, Code::AuthFailed);
        assert!(
            message.contains("HTTP 403 Forbidden: \"account is locked\""),
            "{message}"
        );
    }
    assert_eq!(server.requests_for("/login").len(), 2);
}

#[tokio::test]
async fn cookies_make_a_session() {
    let cookies = "Set-Cookie: SID=session-value; Path=/; HttpOnly\r\n\
                   Set-Cookie: lang=; Max-Age=0\r\nSet-Cookie: b=2\r\n";
    for answer in ["200 OK", "204 No Content", "302 Found"] {
        let server = LoginServer::start(move |request| {
            if request.is_for("/login") {
                response(answer, cookies, "")
            } else {
                response("200 OK", "", "1")
            }
        });
        let login = "method = 'POST'\nbody = '{}'\ncookies = true\n";
        let client = SessionClient::new(&config_text(&server, login));
        assert_eq!(client.fetch_body().await, "1", "{answer}");
        let call = &server.requests_for("/api")[0];
        assert_eq!(call.header("cookie"), Some("SID=session-value; b=2"));
        assert_eq!(call.header("authorization"), None);
        assert_eq!(client.redactor.redact("SID=session-value"), "SID=***");
    }
    // qBittorrent refuses like this.
    let refusing = LoginServer::start(|_| response("200 OK", "", "Fails."));
    let client = SessionClient::new(&config_text(&refusing, "cookies = true\n"));
    let (_, message) = client.fetch_failure().await;
    assert!(message.contains("its answer sets no cookie"), "{message}");
}

#[tokio::test]
async fn unsent_token_is_told() {
    let server = token_server("3600", |_, _| false);
    let login = TOKEN_LOGIN.replace("{token:", "{access_token:");
    let client = SessionClient::new(&config_text(&server, &login));
    let (code, message) = client.fetch_failure().await;
    assert_eq!(code, Code::HttpStatus);
    assert!(
        message.contains("`[auth.bank]` gave no `token`"),
        "{message}"
    );
}

#[tokio::test]
async fn redirect_renews_a_cookie_session() {
    let logins = AtomicUsize::new(0);
    let server = LoginServer::start(move |request| {
        if request.is_for("/login") {
            let number = logins.fetch_add(1, SeqCst);
            response(
                "200 OK",
                &format!("Set-Cookie: SID=session-{number}\r\n"),
                "",
            )
        } else if request.header("cookie") == Some("SID=session-0") {
            // As web applications do after the end of a session.
            response("302 Found", "Location: /login?next=/api\r\n", "")
        } else {
            response("200 OK", "", "1")
        }
    });
    let client = SessionClient::new(&config_text(&server, "method = 'POST'\ncookies = true\n"));
    assert_eq!(client.fetch_body().await, "1");
    assert_eq!(server.requests_for("/login").len(), 2);

    // A redirect says nothing about a token.
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            response("200 OK", "", r#"{"access_token":"token-value"}"#)
        } else {
            response("302 Found", "Location: /api/\r\n", "")
        }
    });
    let client = SessionClient::new(&config_text(&server, TOKEN_LOGIN));
    assert_eq!(client.fetch_failure().await.0, Code::RedirectBlocked);
    assert_eq!(server.requests_for("/login").len(), 1);
}

#[tokio::test]
async fn fields_stand_where_they_are_used() {
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            response(
                "200 OK",
                "",
                r#"{"sid":"a/b+c","user":12345678901234567890}"#,
            )
        } else {
            response("200 OK", "", "1")
        }
    });
    let text = config_text(&server, "extract = '.'\n").replace(
        "auth = 'bank'",
        "auth = 'bank'\nquery = { u = '${auth.user}' }\nheaders = { X-Sid = '${auth.sid}' }",
    );
    let text = text.replace("/api'", "/api/${auth.sid}'");
    let client = SessionClient::new(&text);
    assert_eq!(client.fetch_body().await, "1");
    let call = &server.requests_for("/api")[0];
    assert_eq!(
        call.line.trim(),
        "GET /api/a%2Fb%2Bc?u=12345678901234567890 HTTP/1.1"
    );
    assert_eq!(call.header("x-sid"), Some("a/b+c"));
    assert_eq!(call.header("authorization"), None);

    let missing = text.replace("${auth.user}", "${auth.account}");
    let (code, message) = SessionClient::new(&missing).fetch_failure().await;
    assert_eq!(code, Code::AuthFailed);
    assert_eq!(
        message,
        "the login of `[auth.bank]` gave no field `account`"
    );
}

#[tokio::test]
async fn field_cannot_leave_its_path() {
    let server = LoginServer::start(|request| {
        let answer = if request.is_for("/login") {
            r#"{"sid":".."}"#
        } else {
            "1"
        };
        response("200 OK", "", answer)
    });
    let text = config_text(&server, "extract = '.'\n").replace("/api'", "/api/${auth.sid}/x'");
    let (code, message) = SessionClient::new(&text).fetch_failure().await;
    assert_eq!(code, Code::AuthFailed);
    assert!(
        message.contains("`[auth.bank]`") && message.contains("`sid`"),
        "{message}"
    );
    assert_eq!(server.requests_for("/").len(), 1);
}

/// A server that replaces the refresh token at each use, and refuses one that was used before.
fn rotating_server() -> LoginServer {
    let valid = AtomicUsize::new(0);
    LoginServer::start(move |request| {
        if !request.is_for("/login") {
            let token = request.header("authorization").unwrap_or_default();
            return response("200 OK", "", &format!("\"{token}\""));
        }
        let current = valid.load(SeqCst);
        let expected = format!("refresh_token=refresh-{current}-value");
        if request.body.contains("refresh_token=") && !request.body.contains(&expected) {
            return response("400 Bad Request", "", r#"{"error":"invalid_grant"}"#);
        }
        let next = valid.fetch_add(1, SeqCst) + 1;
        let body = format!(
            r#"{{"access_token":"access-{next}-value","refresh_token":"refresh-{next}-value","expires_in":1}}"#
        );
        response("200 OK", "", &body)
    })
}

fn rotating_login(token_file: &std::path::Path) -> String {
    format!(
        "form = {{ grant_type = 'password', client_id = 'me' }}\n\
         extract = '{{token: .access_token, refresh_token, expires_in}}'\n\
         token_file = '{}'\n\
         [auth.bank.refresh]\n\
         form = {{ grant_type = 'refresh_token', refresh_token = '${{auth.refresh_token}}' }}\n",
        token_file.display()
    )
}

fn grant_types(server: &LoginServer) -> Vec<String> {
    let requests = server.requests_for("/login");
    let grant = |request: &LoginRequest| {
        let fields = request.body.split('&');
        let mut values = fields.filter_map(|field| field.strip_prefix("grant_type="));
        values.next().unwrap().to_owned()
    };
    requests.iter().map(grant).collect()
}

#[tokio::test]
async fn refresh_token_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("state/bank.token");
    let server = rotating_server();
    let text = config_text(&server, &rotating_login(&token_file));
    let client = SessionClient::new(&text);
    assert_eq!(client.fetch_body().await, "\"Bearer access-1-value\"");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(client.fetch_body().await, "\"Bearer access-2-value\"");
    assert_eq!(
        std::fs::read_to_string(&token_file).unwrap(),
        "refresh-2-value\n"
    );
    drop(client);
    let client = SessionClient::new(&text);
    assert_eq!(client.redactor.redact("refresh-2-value"), "***");
    assert_eq!(client.fetch_body().await, "\"Bearer access-3-value\"");
    let expected = ["password", "refresh_token", "refresh_token"];
    assert_eq!(grant_types(&server), expected);
    let refresh = &server.requests_for("/login")[1];
    assert!(refresh.body.contains("client_id=me"), "{}", refresh.body);
}

#[tokio::test]
async fn refused_refresh_logs_in_anew() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("bank.token");
    std::fs::write(&token_file, "of another time\n").unwrap();
    let server = rotating_server();
    let client = SessionClient::new(&config_text(&server, &rotating_login(&token_file)));
    assert_eq!(client.fetch_body().await, "\"Bearer access-1-value\"");
    assert_eq!(grant_types(&server), ["refresh_token", "password"]);
}

#[tokio::test]
async fn token_of_another_program_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("bank.token");
    let server = rotating_server();
    let text = config_text(&server, &rotating_login(&token_file));
    let service = SessionClient::new(&text);
    assert_eq!(service.fetch_body().await, "\"Bearer access-1-value\"");
    // As `check --live` and `once` do: the token of the service is dead now.
    let command = SessionClient::new(&text);
    assert_eq!(command.fetch_body().await, "\"Bearer access-2-value\"");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(service.fetch_body().await, "\"Bearer access-3-value\"");
    let refresh = "refresh_token";
    assert_eq!(
        grant_types(&server),
        ["password", refresh, refresh, refresh]
    );
    assert_eq!(service.redactor.redact("refresh-2-value"), "***");
    let stored = std::fs::read_to_string(&token_file).unwrap();
    assert_eq!(stored, "refresh-3-value\n");
}

/// A server whose first refresh fails with `failure`; its login and other refreshes give tokens that end at once.
fn failing_refresh_server(failure: &'static str) -> LoginServer {
    let refreshes = AtomicUsize::new(0);
    LoginServer::start(move |request| {
        if !request.is_for("/login") {
            return response("200 OK", "", "1");
        }
        let is_refresh = request.body.contains("refresh_token=");
        if is_refresh && refreshes.fetch_add(1, SeqCst) == 0 {
            return failure.into();
        }
        let answer = r#"{"access_token":"a-value","refresh_token":"r-value","expires_in":1}"#;
        response("200 OK", "", answer)
    })
}

#[tokio::test]
async fn unclear_refresh_keeps_the_token() {
    let damaged = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{";
    let too_many =
        "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let failed =
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let postponed = "HTTP/1.1 401 Unauthorized\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for failure in [damaged, too_many, failed, "", postponed] {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("bank.token");
        std::fs::write(&token_file, "stored-token\n").unwrap();
        let server = failing_refresh_server(failure);
        let client = SessionClient::new(&config_text(&server, &rotating_login(&token_file)));
        let (code, message) = client.fetch_failure().await;
        assert_eq!(code, Code::AuthFailed, "{failure}: {message}");
        // No login follows at once.
        assert_eq!(grant_types(&server), ["refresh_token"], "{failure}");
        let stored = std::fs::read_to_string(&token_file).unwrap();
        assert_eq!(stored, "stored-token\n", "{failure}");
    }
}

#[tokio::test]
async fn refresh_is_sent_again_after_a_gateway_error() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("bank.token");
    std::fs::write(&token_file, "stored-token\n").unwrap();
    let server = failing_refresh_server(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let client = SessionClient::new(&config_text(&server, &rotating_login(&token_file)));
    client.fetch_failure().await;
    // The first pause after a server that was not reached.
    tokio::time::sleep(Duration::from_millis(5_050)).await;
    assert_eq!(client.fetch_body().await, "1");
    assert_eq!(grant_types(&server), ["refresh_token", "refresh_token"]);
    assert!(
        server.requests_for("/login")[1]
            .body
            .contains("stored-token")
    );
}

#[tokio::test]
async fn login_after_a_refresh_has_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("bank.token");
    std::fs::write(&token_file, "of another time\n").unwrap();
    let server = LoginServer::start(|request| {
        if !request.is_for("/login") {
            return response("200 OK", "", "1");
        }
        std::thread::sleep(Duration::from_millis(600));
        if request.body.contains("refresh_token=") {
            return response("400 Bad Request", "", r#"{"error":"invalid_grant"}"#);
        }
        response("200 OK", "", r#"{"access_token":"token-value"}"#)
    });
    let login = rotating_login(&token_file).replace("token_file", "timeout = '1s'\ntoken_file");
    let client = SessionClient::new(&config_text(&server, &login));
    assert_eq!(client.fetch_body().await, "1");
}

#[tokio::test]
async fn login_that_waits_for_its_turn_is_not_counted() {
    let server = LoginServer::start(|request| {
        if request.is_for("/slow") {
            std::thread::sleep(Duration::from_secs(2));
        }
        response("200 OK", "", r#"{"access_token":"token-value"}"#)
    });
    let text = config_text(&server, &format!("{TOKEN_LOGIN}\ntimeout = '200ms'"));
    let text = format!("{text}[sources.b]\nurl = '{}'\n", server.url("/slow"));
    let client = SessionClient::with_max_per_host(&text, 1);
    let slow = &client.config.sources[1].providers()[0];
    let deadline = Clock::start().deadline(Duration::from_secs(1));
    let mut slow_call = client.fetch.fetch(slow, deadline.into());
    let waiting = async {
        while server.requests_for("/slow").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.fetch_failure().await.1
    };
    tokio::select! {
        message = waiting => assert!(message.contains("in 5 s"), "{message}"),
        _ = &mut slow_call => panic!("the slow call has ended"),
    }
    assert!(server.requests_for("/login").is_empty());
}

#[tokio::test]
async fn login_can_need_another_login() {
    let server = LoginServer::start(|request| {
        let token = request.header("authorization").unwrap_or_default();
        if request.is_for("/login") && token == "Bearer outer-token" {
            response("200 OK", "", r#"{"access_token":"inner-token"}"#)
        } else if request.is_for("/outer") {
            response("200 OK", "", r#"{"token":"outer-token"}"#)
        } else {
            response("200 OK", "", &format!("\"{token}\""))
        }
    });
    let login = format!(
        "{TOKEN_LOGIN}\nauth = 'outer'\n[auth.outer]\nurl = '{}'\nextract = '{{token}}'\n",
        server.url("/outer")
    );
    let client = SessionClient::new(&config_text(&server, &login));
    assert_eq!(client.fetch_body().await, "\"Bearer inner-token\"");

    let refusing = login.replace(&server.url("/outer"), "http://127.0.0.1:1/");
    let client = SessionClient::new(&config_text(&server, &refusing));
    let (code, message) = client.fetch_failure().await;
    assert_eq!(code, Code::AuthFailed);
    assert!(
        message.contains("[auth.bank]") && message.contains("[auth.outer]"),
        "{message}"
    );
}

#[test]
fn tokens_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            response("200 OK", "", r#"{"access_token":"secret-token/value"}"#)
        } else {
            response(
                "500 Internal Server Error",
                "",
                r#"{"message":"secret-token\/value secret-token%2Fvalue"}"#,
            )
        }
    });
    let text = config_text(&server, TOKEN_LOGIN)
        .replace("path = ''", &format!("path = '{}'", state.display()));
    let app = TestApp::start(&text);
    let answer = app.wait_for_json("/resumen?timeout=2", |answer| {
        answer["resultados"]["a"]["code"] == "http_status"
    });
    let error = answer["resultados"]["a"]["error"].as_str().unwrap();
    assert_eq!(error, "HTTP 500 Internal Server Error: \"*** ***\"");
    for path in ["/salud/fuentes", "/metrics", "/"] {
        let body = app.get(path).body;
        assert!(!body.contains("secret-token"), "{path}");
    }
    app.service
        .stop(&tokio_util::sync::CancellationToken::new());
    let saved = std::fs::read_to_string(&state).unwrap();
    assert!(
        saved.contains("http_status") && !saved.contains("secret-token"),
        "{saved}"
    );
}

#[test]
fn live_check_masks_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.toml");
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            response("200 OK", "", r#"{"access_token":"secret-token-value"}"#)
        } else {
            let token = request.header("authorization").unwrap_or_default();
            response("200 OK", "", &format!(r#"{{"echo":"{token}","n":7}}"#))
        }
    });
    let text = config_text(&server, TOKEN_LOGIN);
    let text = text.replace("[sources.a]", "[sources.a]\nextract = '{n}'");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    for command in [&["check", "--live"][..], &["once", "--format", "json"]] {
        let arguments = [command, &["--config", path]].concat();
        let output = run_program(&arguments, &[]);
        let shown = output.stdout + &output.stderr;
        assert_eq!(output.exit_code, Some(0), "{shown}");
        assert!(shown.contains("\"n\":7"), "{shown}");
        assert!(!shown.contains("secret-token-value"), "{shown}");
    }
    assert_eq!(server.requests_for("/login").len(), 2);
}

#[test]
fn commands_store_a_late_refresh_token() {
    let folder = tempfile::tempdir().unwrap();
    let [path, token_file] = ["resumen.toml", "bank.token"].map(|name| folder.path().join(name));
    let server = LoginServer::start(|request| {
        if request.is_for("/login") {
            std::thread::sleep(Duration::from_secs(1));
            let answer = r#"{"access_token":"a-value","refresh_token":"next-token"}"#;
            return response("200 OK", "", answer);
        }
        response("200 OK", "", "1")
    });
    let text = config_text(&server, &rotating_login(&token_file));
    let text = text.replace("[sources.a]", "[sources.a]\ntimeout = '300ms'");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    for command in [&["check", "--live"][..], &["once", "--timeout", "0.3"]] {
        std::fs::write(&token_file, "last-token\n").unwrap();
        let output = run_program(&[command, &["--config", path]].concat(), &[]);
        let shown = output.stdout + &output.stderr;
        assert_eq!(output.exit_code, Some(1), "{shown}");
        let stored = std::fs::read_to_string(&token_file).unwrap();
        assert_eq!(stored, "next-token\n", "{shown}");
    }
}

#[test]
fn reload_keeps_unchanged_sessions() {
    let server = token_server("3600", |number, last| number == last);
    let text = config_text(&server, TOKEN_LOGIN);
    let (old, same) = (
        parse_test_config(&text),
        parse_test_config(&text.replace("[sources.a]", "[sources.a]\ninterval = '5m'")),
    );
    let app = TestApp::start_with_config(&old);
    let wait_for_data = |source: &str, number: u64| {
        app.wait_for_json("/resumen?timeout=2", |answer: &Value| {
            answer["resultados"][source]["data"] == number
        });
    };
    wait_for_data("a", 1);
    app.service.reloader().reload(&old, &same).unwrap();
    let changed = text.replace("configured-secret", "another-secret");
    let changed = changed.replace("[sources.a]", "[sources.b]");
    let changed = parse_test_config(&changed);
    assert_eq!(server.requests_for("/login").len(), 1);
    app.service.reloader().reload(&same, &changed).unwrap();
    wait_for_data("b", 2);
    assert_eq!(
        server.requests_for("/login")[1].body,
        "client_secret=another-secret"
    );
}

#[test]
fn corrected_login_is_tried_at_once() {
    let server = LoginServer::start(|request| {
        if request.is_for("/api") {
            response("200 OK", "", r#"{"n":7}"#)
        } else if request.body.contains("right-password") {
            response("200 OK", "", r#"{"access_token":"token-value-1"}"#)
        } else {
            response("401 Unauthorized", "", "")
        }
    });
    let text = config_text(&server, TOKEN_LOGIN);
    let text = text.replace(
        "[sources.a]",
        "[sources.a]\ninterval = '1h'\nmin_interval = '1ms'",
    );
    let configured =
        |password: &str| parse_test_config(&text.replace("configured-secret", password));
    let (wrong, right) = (configured("wrong-password"), configured("right-password"));
    let app = TestApp::start_with_config(&wrong);
    app.wait_for_json("/resumen", |body| {
        body["resultados"]["a"]["code"] == "auth_failed"
    });
    app.service.reloader().reload(&wrong, &right).unwrap();
    app.wait_for_json("/resumen", |body| body["resultados"]["a"]["data"]["n"] == 7);
}

/// The password and the refresh token contain what JSON has to escape.
#[tokio::test]
async fn json_body_escapes_values() {
    let folder = tempfile::tempdir().unwrap();
    let (password, refresh_token) = ("pass\"wo\\rd\u{7}\nñ", "refresh\"token");
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let server = LoginServer::start(move |request| {
        if request.is_for("/api") {
            return response("401 Unauthorized", "", "{}");
        }
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let answer = if let Some(sent) = body.get("refresh") {
            assert_eq!(sent, refresh_token);
            json!({"token": "token-2-value"})
        } else {
            assert_eq!(body, json!({"user": "me", "password": password, "n": 7}));
            json!({"token": "token-1-value", "refresh": refresh_token})
        };
        response("200 OK", "", &answer.to_string())
    });
    let file = file.display();
    let login = format!(
        "method = 'POST'\nextract = '{{token: .token, refresh_token: .refresh}}'\n\
         body = '{{\"user\": \"me\", \"password\": \"${{file:{file}}}\", \"n\": ${{NONE:-7}}}}'\n\
         refresh = {{ body = '{{\"refresh\": \"${{auth.refresh_token}}\"}}' }}"
    );
    let client = SessionClient::new(&config_text(&server, &login));
    client.fetch_failure().await;
    let bodies = server.requests_for("/login");
    assert_eq!(bodies.len(), 2, "login and refresh");
    let masked = client.redactor.redact(&bodies[0].body);
    assert!(masked.contains(r#""password": "***""#), "{masked}");
}
