//! `server.tokens` and `server.live`: who may request what, on every path of the server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resumen::config::{AccessGroup, LiveAccess, ServerSettings};

use crate::http::{access_token, publish_readings};
use crate::support::fake_provider::FakeProvider;
use crate::support::raw_client::{RawHttpClient, RawResponse};
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_app::{TestApp, parse_test_config, source_tables};
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::wait::wait_until;

/// A target of every kind and the groups that grant it; empty: everyone.
const TARGETS: [(&str, &[&str]); 23] = [
    ("/resumen", &["data", "panel"]),
    ("/resumen?_=1", &["data", "panel"]),
    ("/resumen?sources=btc&timeout=1", &["data", "panel"]),
    ("/resumen?fresh=0", &["data", "panel"]),
    ("/resumen?fresh=1", &["live"]),
    ("/resumen?fresh=true&sources=btc", &["live"]),
    ("/resumen?max_age=3600", &["live"]),
    ("/resumen/stream", &["stream", "panel"]),
    ("/", &["panel"]),
    ("/panel/history.json", &["panel"]),
    ("/panel/appearance.json", &["panel"]),
    ("/fuente/btc", &["panel"]),
    ("/panel/fuente/btc", &["panel"]),
    ("/panel/0/card.js", &["panel"]),
    ("/salud/fuentes", &["admin", "panel"]),
    ("/metrics", &["admin"]),
    ("/openapi.json", &["admin"]),
    ("/none", &["data", "live", "stream", "panel", "admin"]),
    ("/salud/", &["data", "live", "stream", "panel", "admin"]),
    ("/salud", &[]),
    ("/salud/listo", &[]),
    ("/healthz", &[]),
    ("/readyz", &[]),
];

/// A server with one token per group, and live answers.
fn locked_server(live: LiveAccess) -> TestServer {
    server_with(ServerSettings {
        live,
        tokens: AccessGroup::ALL
            .iter()
            .map(|group| access_token(group.name(), &[*group]))
            .collect(),
        ..default_server_settings()
    })
}

fn server_with(settings: ServerSettings) -> TestServer {
    let fetch = ScriptedFetch::default();
    let answer = |_| ScriptedAction::Respond("1", std::time::Duration::ZERO);
    fetch.set_script("provider", answer);
    let sources =
        ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], test_schedule()));
    let server = TestServer::start(settings, &sources, fetch);
    publish_readings(&server);
    server
}

/// The token of the group, in both schemes.
fn credentials(group: &str) -> [String; 2] {
    let token = format!("{group}-0123456789abcdef");
    let pair = STANDARD.encode(format!("anyone:{token}"));
    [format!("Bearer {token}"), format!("Basic {pair}")]
}

/// The response, or its head for an endless body.
fn request(server: &TestServer, method: &str, target: &str, fields: &str) -> RawResponse {
    let mut client = server.connect_client();
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"
    ));
    read_response_head(&mut client, method, target)
}

fn read_response_head(client: &mut RawHttpClient, method: &str, target: &str) -> RawResponse {
    if target != "/resumen/stream" || method != "GET" {
        return client.read_response(method);
    }
    let (status, headers) = client.read_head();
    RawResponse {
        status,
        headers,
        body: Vec::new(),
    }
}

#[test]
fn each_token_opens_its_routes_only() {
    let server = locked_server(LiveAccess::On);
    for (target, groups) in TARGETS {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            let anonymous = request(&server, method, target, "").status;
            assert_eq!(anonymous == 401, !groups.is_empty(), "{method} {target}");
            for group in AccessGroup::ALL.iter().map(|group| group.name()) {
                // The handler of GET distinguishes live answers from the snapshot.
                let is_summary = target.starts_with("/resumen?") || target == "/resumen";
                let is_known = is_summary && !["GET", "HEAD"].contains(&method);
                let is_open = groups.is_empty()
                    || groups.contains(&group)
                    || is_known && ["data", "panel", "live"].contains(&group);
                for value in credentials(group) {
                    let field = format!("Authorization: {value}\r\n");
                    let status = request(&server, method, target, &field).status;
                    assert_ne!(status, 401, "{method} {target} {group}");
                    assert_eq!(
                        status != 403,
                        is_open,
                        "{method} {target} {group}: {status}"
                    );
                }
            }
        }
    }
}

#[test]
fn refusals_have_their_codes() {
    let server = locked_server(LiveAccess::On);
    let refused = request(&server, "GET", "/resumen", "");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["code"], "unauthorized");
    let challenges = refused.headers.iter();
    let challenges = challenges.filter(|(name, _)| name == "www-authenticate");
    let challenges: Vec<&str> = challenges.map(|(_, value)| value.as_str()).collect();
    assert_eq!(challenges, ["Basic realm=\"resumen\"", "Bearer"]);
    let [data, _] = credentials("data");
    let refused = request(
        &server,
        "GET",
        "/metrics",
        &format!("Authorization: {data}\r\n"),
    );
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (403, None)
    );
    assert_eq!(refused.json()["code"], "forbidden");
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("`admin`")
    );
    assert!(!refused.text().contains("0123456789abcdef"));
}

/// Every prefix and every changed byte of a token, and what surrounds it, on both paths.
#[test]
fn wrong_tokens_are_refused() {
    let server = locked_server(LiveAccess::On);
    let good = "data-0123456789abcdef";
    let mut wrong: Vec<String> = (0..good.len()).map(|end| good[..end].to_owned()).collect();
    wrong.extend((0..good.len()).map(|at| format!("{}~{}", &good[..at], &good[at + 1..])));
    wrong.extend(
        [
            "DATA-0123456789ABCDEF",
            "data-0123456789abcdefg",
            "x",
            "\"data-0123456789abcdef\"",
        ]
        .map(str::to_owned),
    );
    let mut fields: Vec<String> = wrong
        .iter()
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .collect();
    let pair = STANDARD.encode(good);
    fields.extend([
        format!("Authorization: {good}\r\n"),
        format!("Authorization: Basic {good}\r\n"),
        format!("Authorization: Basic {pair}\r\n"),
        format!(
            "Authorization: Basic {}\r\n",
            STANDARD.encode(format!("{good}:"))
        ),
        format!("Authorization: Digest {good}\r\n"),
        format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n"),
        format!("Authorization: Bearer x\r\nAuthorization: Bearer {good}\r\n"),
        format!("Cookie: token={good}\r\n"),
        format!("X-Authorization: Bearer {good}\r\n"),
        format!("Proxy-Authorization: Bearer {good}\r\n"),
    ]);
    for field in fields {
        for target in ["/resumen", "/resumen?_=1"] {
            let status = request(&server, "GET", target, &field).status;
            assert_eq!(status, 401, "{target} {field}");
        }
    }
    assert_eq!(
        request(&server, "GET", &format!("/resumen?token={good}"), "").status,
        401
    );
}

/// A head that was admitted once is answered by comparing bytes.
#[test]
fn pipelined_requests_are_each_decided() {
    let server = locked_server(LiveAccess::On);
    let [data, basic] = credentials("data");
    let [metrics, _] = credentials("admin");
    let head =
        |value: &str| format!("GET /resumen HTTP/1.1\r\nHost: a\r\nAuthorization: {value}\r\n\r\n");
    let anonymous = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests.extend([(head(&data), 200), (head(&data), 200), (head(&basic), 200)]);
        requests.extend([
            (anonymous.clone(), 401),
            (head(&metrics), 403),
            (head("Bearer x"), 401),
        ]);
    }
    // Several orders, since the connection leaves the fast path at the first refusal.
    for skip in 0..6 {
        let mut client = server.connect_client();
        let rest = &requests[skip..];
        client.send(
            rest.iter()
                .map(|(head, _)| head.as_str())
                .collect::<String>(),
        );
        for (head, status) in rest {
            assert_eq!(client.read_response("GET").status, *status, "{head}");
        }
    }
}

#[test]
fn other_forms_of_requests_need_tokens() {
    let server = locked_server(LiveAccess::On);
    for head in [
        "GET /resumen HTTP/1.0\r\n\r\n",
        "GET http://a/resumen HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/salud/../resumen HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /salud/..%2fresumen HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET //salud HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS /resumen HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        "TRACE /resumen HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = server.connect_client();
        client.send(head);
        assert_eq!(client.read_response("GET").status, 401, "{head}");
    }
}

#[test]
fn preflight_needs_no_token() {
    let server = server_with(ServerSettings {
        cors_origins: vec!["https://a.example".into()],
        tokens: vec![access_token("data", &[AccessGroup::Data])],
        ..default_server_settings()
    });
    let preflight = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\
        Access-Control-Request-Headers: authorization\r\n";
    let response = request(&server, "OPTIONS", "/resumen", preflight);
    assert_eq!(response.status, 204);
    let allowed = response.header("access-control-allow-headers").unwrap();
    assert_eq!(allowed, "*, Authorization");
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(request(&server, method, "/resumen", preflight).status, 401);
    }
    let refused = request(&server, "GET", "/resumen", "Origin: https://a.example\r\n");
    let origin = refused.header("access-control-allow-origin");
    assert_eq!(origin, Some("https://a.example"));
}

#[test]
fn shared_caches_store_nothing_with_tokens() {
    let (open, locked) = (
        server_with(default_server_settings()),
        locked_server(LiveAccess::On),
    );
    let field = format!("Authorization: {}\r\n", credentials("panel")[0]);
    for target in ["/resumen", "/resumen?_=1"] {
        let shared = request(&open, "GET", target, "");
        assert!(shared.header("cdn-cache-control").is_some(), "{target}");
        let private = request(&locked, "GET", target, &field);
        assert_eq!(
            (private.status, private.header("cdn-cache-control")),
            (200, None)
        );
    }
    let page = request(&locked, "GET", "/", &field);
    let (_, rest) = page.text().split_once("href=\"panel/").unwrap();
    let target = format!("/panel/{}", rest.split('"').next().unwrap());
    let control = |server: &TestServer| {
        let response = request(server, "GET", &target, &field);
        response.header("cache-control").unwrap().to_owned()
    };
    assert!(control(&open).starts_with("public, "));
    assert!(control(&locked).starts_with("private, "));
}

#[test]
fn live_answers_can_be_switched_off() {
    for (live, code) in [
        (LiveAccess::Off, "live_disabled"),
        (LiveAccess::Token, "live_disabled"),
    ] {
        let server = server_with(ServerSettings {
            live,
            ..default_server_settings()
        });
        for target in [
            "/resumen?fresh=1",
            "/resumen?max_age=0",
            "/resumen?max_age=99999&sources=btc",
        ] {
            for method in ["GET", "HEAD"] {
                assert_eq!(request(&server, method, target, "").status, 403, "{target}");
            }
            assert_eq!(request(&server, "GET", target, "").json()["code"], code);
        }
        for target in ["/resumen", "/resumen?fresh=0", "/resumen?timeout=1"] {
            assert_eq!(request(&server, "GET", target, "").status, 200, "{target}");
        }
    }
    let field = format!("Authorization: {}\r\n", credentials("live")[0]);
    let off = request(
        &locked_server(LiveAccess::Off),
        "GET",
        "/resumen?fresh=1",
        &field,
    );
    assert_eq!(
        (off.status, &off.json()["code"]),
        (403, &"live_disabled".into())
    );
    let token = request(
        &locked_server(LiveAccess::Token),
        "GET",
        "/resumen?fresh=1",
        &field,
    );
    assert_eq!(token.status, 200);
}

/// A reload replaces the tokens: heads that were remembered, kept connections and streams included.
#[test]
fn reload_revokes_a_token() {
    let provider = FakeProvider::with_json("1");
    let config = |token: &str| {
        // The stream looks at its token whenever the snapshot changes.
        let timing = "interval = \"1s\"\ntimeout = \"500ms\"\n";
        let tables = source_tables(&[("btc", provider.url())]) + timing;
        parse_test_config(&format!(
            "[server.tokens.wall]\ntoken = \"{token}\"\nroutes = [\"data\", \"stream\"]\n{tables}"
        ))
    };
    let (old, new) = (
        config("first-0123456789abcdef"),
        config("second-0123456789abcdef"),
    );
    let app = TestApp::start_with_config(&old);
    let head = |path: &str, token: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}-0123456789abcdef\r\n\r\n"
        )
    };
    let mut poller = RawHttpClient::connect(app.address);
    let mut status_of = |token: &str| {
        poller.send(head("/resumen", token));
        poller.read_response("GET").status
    };
    wait_until("an answer", || status_of("first") == 200);
    assert_eq!(status_of("first"), 200);
    let mut stream = RawHttpClient::connect(app.address);
    stream.send(head("/resumen/stream", "first"));
    assert_eq!(stream.read_head().0, 200);
    app.service.reloader().reload(&old, &new).unwrap();
    assert_eq!((status_of("first"), status_of("second")), (401, 200));
    // At the next change of the snapshot, or the next heartbeat.
    while stream.read_chunk().is_some() {}
}
