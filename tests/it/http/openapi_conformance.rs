//! The responses of the service match `/openapi.json`.

use std::collections::BTreeSet;
use std::time::Duration;

use resumen::config::{AccessGroup, ServerSettings};
use resumen::domain::Code;
use serde_json::{Value, json};

use crate::http::{
    access_token, default_server_settings, publish_readings, server_with_readings,
    server_without_readings, start_server,
};
use crate::support::openapi_document::OpenApiDocument;
use crate::support::raw_client::RawResponse;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_server::TestServer;

fn fetch_document(server: &TestServer) -> OpenApiDocument {
    let response = server.connect_client().get("/openapi.json");
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some("application/json"))
    );
    OpenApiDocument::new(response.json())
}

#[test]
fn openapi_lists_exactly_the_routes() {
    let server = server_with_readings();
    let page = server.connect_client().get("/metrics");
    let label = |line: &str| {
        let rest = line.strip_prefix("resumen_http_requests_total{route=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let mut routes: Vec<String> = page.text().lines().filter_map(label).collect();
    routes.dedup();
    assert_eq!(routes.pop().as_deref(), Some("other"));
    assert_eq!(fetch_document(&server).paths(), routes);
}

/// Behind a proxy, the service may be below a path. A client resolves the URL against that of the document.
#[test]
fn openapi_server_is_its_folder() {
    let document = fetch_document(&server_with_readings());
    let server = document.value["servers"][0]["url"].as_str().unwrap();
    let address = url::Url::parse("https://a.example/values/openapi.json").unwrap();
    let resolved = address.join(server).unwrap();
    assert_eq!(resolved.as_str(), "https://a.example/values/");
}

#[test]
fn openapi_uses_every_problem() {
    let document = fetch_document(&server_with_readings());
    let known =
        document.value["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].clone();
    let mut used = BTreeSet::new();
    collect_codes(&document.value["paths"], &mut used);
    collect_codes(&document.value["components"]["responses"], &mut used);
    for code in known.as_array().unwrap() {
        let code = code.as_str().unwrap();
        assert!(
            used.contains(code),
            "no operation in `/openapi.json` has the code `{code}`"
        );
    }
}

/// Collects the codes that the responses below `value` allow.
fn collect_codes(value: &Value, found: &mut BTreeSet<String>) {
    if let Some(codes) = value
        .pointer("/properties/code/enum")
        .and_then(Value::as_array)
    {
        found.extend(codes.iter().map(|code| code.as_str().unwrap().to_owned()));
    }
    match value {
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_codes(member, found)),
        Value::Array(items) => items.iter().for_each(|item| collect_codes(item, found)),
        _ => {}
    }
}

#[test]
fn openapi_lists_failure_codes() {
    let document = fetch_document(&server_with_readings());
    let known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        document.value["components"]["schemas"]["FailureCode"]["enum"],
        json!(known)
    );
}

/// Requests to a healthy server: method, target and headers.
const DESCRIBED_REQUESTS: &[(&str, &str, &[&str])] = &[
    (
        "GET",
        "/resumen?fresh=1&timeout=0.5",
        &["Accept-Encoding: br"],
    ),
    (
        "GET",
        "/resumen?max_age=30&sources=usd,btc&_=7",
        &["X-Request-Id: 1"],
    ),
    ("GET", "/resumen?fresh=yes", &[]),
    ("GET", "/resumen?colour=red", &[]),
    ("GET", "/resumen?sources=unknown", &[]),
    ("GET", "/resumen?fresh=1&max_age=1", &[]),
    ("GET", "/resumen?format=flat&sources=usd,btc", &[]),
    ("GET", "/resumen/stream?x", &[]),
    ("GET", "/valor/btc", &["Accept-Encoding: gzip"]),
    (
        "GET",
        "/valor/btc/usd?fresh=1",
        &["Accept: application/json"],
    ),
    ("GET", "/valor/btc/usd", &["If-None-Match: *"]),
    ("GET", "/valor/bct/usd", &[]),
    ("GET", "/valor/btc/usdd", &[]),
    ("GET", "/valor/btc/usd?x", &[]),
    ("GET", "/insignia/btc/usd", &["Accept-Encoding: br"]),
    ("GET", "/insignia/none", &[]),
    ("GET", "/insignia/btc?x", &[]),
    ("GET", "/salud/fuentes?x", &[]),
    (
        "GET",
        "/metrics",
        &["Accept: application/openmetrics-text; version=1.0.0"],
    ),
    ("GET", "/openapi.json?x", &[]),
    ("GET", "/panel/0123456789abcdef/panel.css", &[]),
    (
        "GET",
        "/panel/0123456789abcdef/panel.js",
        &["Accept-Encoding: gzip"],
    ),
    ("GET", "/panel/0123456789abcdef/none.js", &[]),
    ("GET", "/fuente/none", &[]),
    ("GET", "/panel/fuente/none", &[]),
];

/// Headers of requests; most of them cause a problem.
const HEADER_VARIANTS: &[&[&str]] = &[
    &[],
    &["If-None-Match: *"],
    &["Accept-Encoding: *;q=0"],
    &["Expect: foo"],
    &["Host: twice"],
    &["Content-Length: 1"],
    &["Origin: https://a.example"],
];

/// Requests for every path with every method and header variant, and the described ones: method,
/// target and headers.
fn conformance_requests(paths: &[String]) -> Vec<SentRequest> {
    let mut requests = Vec::new();
    for path in paths {
        let target = path.replace("{version}", "0123456789abcdef");
        let target = target.replace("{file}", "card.js");
        let target = target.replace("{path}", "btc/usd");
        let target = target.replace("{source}", "btc");
        // The stream accepts a plain GET and never ends it; `event_stream` tests it.
        let is_stream = path == "/resumen/stream";
        let variants = HEADER_VARIANTS.iter().filter(|_| !is_stream);
        for headers in variants.chain(&HEADER_VARIANTS[3..6]) {
            for method in ["GET", "HEAD", "OPTIONS", "POST"] {
                requests.push((method, target.clone(), headers.to_vec()));
            }
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            requests.push((method, target.clone(), vec!["X: y"; 70]));
        }
        for method in ["HEAD", "OPTIONS"] {
            requests.push((method, target.clone(), Vec::new()));
        }
    }
    for (method, target, headers) in DESCRIBED_REQUESTS {
        for method in [*method, "HEAD"] {
            requests.push((method, (*target).to_owned(), headers.to_vec()));
        }
    }
    requests
}

type SentRequest = (&'static str, String, Vec<&'static str>);

/// A server with another name, and one with a token for the stream and one for live answers.
fn refusing_servers() -> (TestServer, TestServer) {
    let settings = || ServerSettings {
        cors_origins: vec!["https://a.example".to_owned()],
        ..default_server_settings()
    };
    let tokens = [("stream", AccessGroup::Stream), ("live", AccessGroup::Live)];
    let guarded = ServerSettings {
        hosts: vec!["wall.example".into()],
        ..settings()
    };
    let locked = ServerSettings {
        tokens: tokens
            .map(|(name, group)| access_token(name, &[group]))
            .to_vec(),
        ..settings()
    };
    (start_server(guarded), start_server(locked))
}

/// Requests for every path that get a 421, a 401 and a 403.
fn refused_requests<'s>(
    paths: &[String],
    guarded: &'s TestServer,
    locked: &'s TestServer,
) -> Vec<(&'s TestServer, SentRequest)> {
    let mut requests = Vec::new();
    for path in paths {
        let target = path.replace("{version}", "0").replace("{file}", "card.js");
        let target = target.replace("{path}", "btc/usd");
        let target = target.replace("{source}", "btc");
        let foreign_token = match path.as_str() {
            "/resumen/stream" => "Authorization: Bearer live-0123456789abcdef",
            _ => "Authorization: Bearer stream-0123456789abcdef",
        };
        for method in ["GET", "HEAD", "OPTIONS"] {
            requests.push((guarded, (method, target.clone(), vec![])));
            requests.push((locked, (method, target.clone(), vec![])));
            requests.push((locked, (method, target.clone(), vec![foreign_token])));
        }
    }
    requests
}

#[test]
fn responses_match_openapi() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("provider", |_| ScriptedAction::Respond("1", Duration::ZERO));
    let sources =
        ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], test_schedule()));
    let settings = ServerSettings {
        cors_origins: vec!["https://a.example".into()],
        ..default_server_settings()
    };
    let server = TestServer::start(settings, &sources, fetch);
    publish_readings(&server);
    server.publish_failure("usd", Code::HttpStatus, "HTTP 503 Service Unavailable");
    let mut document = fetch_document(&server);
    let paths: Vec<String> = document.paths().into_iter().map(str::to_owned).collect();
    let (mut mismatches, mut seen) = (Vec::new(), BTreeSet::new());
    let requests = conformance_requests(&paths).into_iter();
    let (guarded, locked) = refusing_servers();
    let refused = refused_requests(&paths, &guarded, &locked);
    let requests = requests.map(|request| (&server, request)).chain(refused);
    for (server, (method, target, headers)) in requests {
        let path = document.matching_path(&target).unwrap();
        // The document describes other methods with GET.
        let described_method = match method {
            "HEAD" => "head",
            "OPTIONS" => "options",
            _ => "get",
        };
        let mut client = server.connect_client();
        let response = client.send_request(method, &target, &headers);
        let checked = document.check_operation(&path, described_method, &response);
        if let Err(error) = checked {
            let status = response.status;
            mismatches.push(format!(
                "{method} {target} {headers:?} -> {status}: {error}"
            ));
        }
        seen.insert((path, described_method, response.status));
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    let mut unseen = Vec::new();
    for path in paths {
        for method in ["get", "head", "options"] {
            for status in document.statuses(&path, method) {
                let is_stream = path == "/resumen/stream" && status == 200;
                // Other tests cause 5xx; 405 is described with GET but sent for other methods.
                let is_elsewhere = status >= 500 || status == 405 || is_stream;
                if !is_elsewhere && !seen.contains(&(path.clone(), method, status)) {
                    unseen.push((path.clone(), method, status));
                }
            }
        }
    }
    assert!(unseen.is_empty(), "described but never sent: {unseen:?}");
}

#[test]
fn event_stream_matches_openapi() {
    let server = server_with_readings();
    let mut document = fetch_document(&server);
    let mut client = server.connect_client();
    client.send("GET /resumen/stream HTTP/1.1\r\nHost: a\r\n\r\n");
    let (status, headers) = client.read_head();
    let response = RawResponse {
        status,
        headers,
        body: b"x".to_vec(),
    };
    document
        .check_operation("/resumen/stream", "get", &response)
        .unwrap();
}

#[test]
fn unknown_path_matches_openapi() {
    let server = server_with_readings();
    let mut document = fetch_document(&server);
    let response = server.connect_client().get("/resume");
    let keys = ["components", "responses", "NotFound"].map(str::to_owned);
    document.check_response(&keys, &response).unwrap();
}

#[test]
fn unready_response_matches_openapi() {
    let server = server_without_readings();
    let mut document = fetch_document(&server);
    let mut check = |path: &str, status: u16| {
        let response = server.connect_client().get(path);
        assert_eq!(response.status, status, "{path}");
        let pattern = document.matching_path(path).unwrap();
        document
            .check_operation(&pattern, "get", &response)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    check("/salud/listo", 503);
    check("/resumen?timeout=0.01", 200);
    check("/salud/fuentes", 200);
    check("/metrics", 200);
    check("/panel/history.json", 200);
    check("/panel/appearance.json", 200);
}

#[test]
fn timeout_pattern_is_exact() {
    let texts = timeout_samples();
    for max in [30_000, 1_000, 2_500, 250, 7, 100_000, 3_600_050] {
        let max = Duration::from_millis(max);
        let server = start_server(ServerSettings {
            max_timeout: max,
            ..default_server_settings()
        });
        publish_readings(&server);
        let mut document = fetch_document(&server);
        let schema = "/components/parameters/timeout/schema";
        let mut client = server.connect_client();
        for text in &texts {
            let accepted = client.get(&format!("/resumen?timeout={text}")).status == 200;
            let described = document.validate(schema, &json!(text)).is_ok();
            assert_eq!(described, accepted, "{text:?} with at most {max:?}");
        }
    }
}

/// Numbers around every limit, in many spellings.
fn timeout_samples() -> Vec<String> {
    let wholes = [
        "", "0", "00", "1", "2", "3", "7", "9", "10", "19", "29", "30", "31", "030", "99", "100",
        "101", "250",
    ];
    let more = [
        "000000030",
        "0000000030",
        "000000001",
        "3599",
        "3600",
        "3601",
        "999999999",
        "000000000",
        "x",
        "-1",
        "%2B1",
    ];
    let fractions = [
        "",
        ".",
        ".0",
        ".000000000",
        ".000000001",
        ".0000000001",
        ".007",
        ".00700",
        ".0070001",
        ".006999",
    ];
    let others = [
        ".05",
        ".050000001",
        ".049",
        ".1",
        ".2",
        ".25",
        ".250",
        ".2500001",
        ".3",
        ".5",
        ".50",
        ".51",
        ".4999",
    ];
    let wholes = wholes.iter().chain(&more);
    wholes
        .flat_map(|whole| {
            fractions
                .iter()
                .chain(&others)
                .map(move |fraction| format!("{whole}{fraction}"))
        })
        .collect()
}
