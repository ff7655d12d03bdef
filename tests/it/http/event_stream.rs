//! `/resumen/stream` and `/salud/fuentes`.

use std::time::Duration;

use resumen::domain::{Code, Schedule};
use serde_json::{Value, json};

use crate::http::{publish_readings, server_with_readings, start_server};
use crate::support::fake_provider::FakeProvider;
use crate::support::process_usage::metric_value;
use crate::support::raw_client::RawHttpClient;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_app::TestApp;
use crate::support::test_server::{TestServer, default_server_settings};

fn open_stream(server: &TestServer) -> RawHttpClient {
    let mut client = server.connect_client();
    client.send("GET /resumen/stream HTTP/1.1\r\nHost: a\r\nLast-Event-ID: old\r\n\r\n");
    let (status, headers) = client.read_head();
    assert_eq!(status, 200);
    assert!(
        headers.contains(&("content-type".into(), "text/event-stream".into())),
        "{headers:?}"
    );
    read_retry(&mut client);
    client
}

/// Reads the next chunk, which must be a `retry` field.
#[track_caller]
fn read_retry(client: &mut RawHttpClient) {
    let field = String::from_utf8(client.read_chunk().expect("a chunk")).unwrap();
    let millis: u64 = field
        .strip_prefix("retry: ")
        .and_then(|text| text.strip_suffix("\n\n"))
        .unwrap()
        .parse()
        .unwrap();
    assert!((2000..=4000).contains(&millis), "{millis}");
}

/// Reads the next event; returns its id and data.
#[track_caller]
fn read_event(client: &mut RawHttpClient) -> (String, Value) {
    let text = String::from_utf8(client.read_chunk().expect("an event")).unwrap();
    let text = text
        .strip_prefix("event: resumen\n")
        .unwrap_or_else(|| panic!("{text:?}"));
    let (id, data) = text
        .strip_prefix("id: ")
        .unwrap()
        .split_once("\ndata: ")
        .unwrap();
    assert!(
        data.ends_with("\n\n") && data.matches('\n').count() == 2,
        "{data:?}"
    );
    (id.to_owned(), serde_json::from_str(data).unwrap())
}

#[test]
fn stream_sends_snapshot_then_changes() {
    let server = server_with_readings();
    let mut client = open_stream(&server);
    let (first, body) = read_event(&mut client);
    assert_eq!(body["version"], first);
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 97123.45}));
    server.publish_reading("btc", r#"{"usd":1}"#);
    let (second, body) = read_event(&mut client);
    assert_ne!(first, second);
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 1}));
    server.publish_failure("usd", Code::Timeout, "late");
    assert_eq!(
        read_event(&mut client).1["resultados"]["usd"]["code"],
        "timeout"
    );
}

#[test]
fn staleness_sends_event() {
    let schedule = Schedule {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        ..test_schedule()
    };
    let server = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["provider"], schedule)],
        ScriptedFetch::default(),
    );
    server.publish_reading("a", "1");
    let mut client = open_stream(&server);
    assert_eq!(read_event(&mut client).1["resultados"]["a"]["stale"], false);
    assert_eq!(read_event(&mut client).1["resultados"]["a"]["stale"], true);
}

#[test]
fn drain_sends_retry_and_ends_stream() {
    let mut server = server_with_readings();
    let mut client = open_stream(&server);
    read_event(&mut client);
    server.drain.cancel();
    read_retry(&mut client);
    assert_eq!(client.read_chunk(), None);
    assert!(server.stop(Duration::from_secs(2)).is_some());
}

#[test]
fn slow_stream_client_is_closed() {
    let settings = resumen::config::ServerSettings {
        idle_timeout: Duration::from_millis(400),
        ..default_server_settings()
    };
    let server = start_server(settings);
    publish_readings(&server);
    let mut non_reading = open_stream(&server);
    let mut other = open_stream(&server);
    read_event(&mut other);
    assert_eq!(stream_client_count(&server), 2);
    let filler = "x".repeat(500_000);
    let is_closed = (0..200).any(|n| {
        server.publish_reading("btc", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#));
        let newest = std::iter::repeat_with(|| read_event(&mut other).1)
            .find(|body| body["resultados"]["btc"]["data"]["n"] == n);
        assert!(newest.is_some());
        stream_client_count(&server) < 2
    });
    assert!(is_closed, "the connection is open");
    // The server closed the connection, so the client reads what its kernel received and then the end.
    while non_reading.read_byte_count() > 0 {}
}

#[test]
fn streams_are_capped_at_half() {
    let server = start_server(resumen::config::ServerSettings {
        max_connections: 4,
        ..default_server_settings()
    });
    publish_readings(&server);
    let (mut one, _two) = (open_stream(&server), open_stream(&server));
    let refused = server.connect_client().get("/resumen/stream");
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("stream_full"))
    );
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("has 2 clients"),
        "{:?}",
        refused.text()
    );
    assert_eq!(
        server.connect_client().get("/resumen").status,
        200,
        "other requests are served"
    );
    read_event(&mut one);
    drop(one);
    // The server detects a closed stream by its next write.
    let is_open = (0..1000).any(|n| {
        server.publish_reading("btc", &n.to_string());
        std::thread::sleep(Duration::from_millis(5));
        server
            .connect_client()
            .send_request("HEAD", "/resumen/stream", &[])
            .status
            == 200
    });
    assert!(is_open, "the permit of the closed stream is not released");
}

fn stream_client_count(server: &TestServer) -> usize {
    let page = server.connect_client().get("/metrics");
    metric_value(page.text(), "resumen_stream_clients").unwrap() as usize
}

#[test]
fn stream_selects_sources_and_form() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    client.send(
        "GET /resumen/stream?sources=btc&format=flat&event=message HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.read_head().0, 200);
    read_retry(&mut client);
    let mut next = || String::from_utf8(client.read_chunk().expect("an event")).unwrap();
    let event = next();
    let (head, data) = event.split_once("\ndata: ").unwrap();
    assert!(head.starts_with("event: message\nid: "), "{head:?}");
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["btc.usd"], json!(97123.45));
    assert_eq!(data.get("usd.ok"), None);
    // A change of another source causes no event.
    server.publish_reading("usd", "1");
    server.publish_reading("btc", r#"{"usd":2}"#);
    let event = next();
    assert!(event.contains(r#""btc.usd":2}"#), "{event:?}");
}

#[test]
fn stream_rejects_parameters() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    for (query, code) in [
        ("fresh=1", "unknown_parameter"),
        ("sources=bct", "unknown_source"),
        ("format=xml", "invalid_parameter"),
        ("event=", "invalid_parameter"),
    ] {
        let response = client.get(&format!("/resumen/stream?{query}"));
        assert_eq!(
            (response.status, &response.json()["code"]),
            (400, &json!(code))
        );
    }
    let head = client.send_request("HEAD", "/resumen/stream?_=1", &[]);
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    assert_eq!(client.get("/salud/listo").status, 200);
}

#[test]
fn health_lists_hidden_failure() {
    let bad = FakeProvider::with_status("503 Service Unavailable");
    let good = FakeProvider::with_json("1");
    let table = |name, provider: &FakeProvider| {
        let url = provider.url();
        format!("[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{url}\"\n")
    };
    let defaults =
        "interval = \"50ms\"\ntimeout = \"50ms\"\nttl = \"1m\"\nmin_interval = \"1ms\"\n";
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[defaults]\n{defaults}{}{}",
        table("preferred", &bad),
        table("other", &good)
    ));
    let wait_for = |key: &str, value: &str| {
        app.wait_for_json("/resumen", |response| {
            response["resultados"]["usd"][key] == value
        })
    };
    wait_for("provider", "other");
    let report = app.get_json("/salud/fuentes");
    assert_eq!(report["status"], "pass");
    let note = report["notes"][0].as_str().unwrap();
    let start = "usd: pass (fresh): provider preferred: http_status since 2";
    assert!(note.starts_with(start), "{note}");
    assert!(note.ends_with("Z: HTTP 503 Service Unavailable"), "{note}");
    let page = app.get("/metrics").body;
    let family = "resumen_provider_failing_since_timestamp_seconds{";
    let labels = "source=\"usd\",provider=\"preferred\",code=\"http_status\"}";
    let since = metric_value(&page, &format!("{family}{labels}"));
    assert!(since.is_some_and(|since| since > 1.6e9), "{page}");
    assert_eq!(page.matches(family).count(), 1);

    good.set_status("404 Not Found");
    wait_for("code", "http_status");
    bad.set_json("2");
    wait_for("provider", "preferred");
    let notes = app.get_json("/salud/fuentes")["notes"].take();
    assert_eq!(
        notes,
        Value::Null,
        "the other provider was not called since"
    );
    let page = app.get("/metrics").body;
    assert!(!page.contains(family), "{page}");
}

#[test]
fn health_lists_sources() {
    let server = server_with_readings();
    server.publish_failure("usd", Code::HttpStatus, "HTTP 503 Service Unavailable");
    let response = server.connect_client().get("/salud/fuentes");
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some("application/health+json"))
    );
    let body = response.json();
    assert_eq!(body["status"], "warn");
    let (btc, usd) = (&body["checks"]["btc"][0], &body["checks"]["usd"][0]);
    assert_eq!(
        (&btc["status"], &btc["consecutive_failures"]),
        (&json!("pass"), &json!(0))
    );
    assert!(
        btc["observedValue"].is_u64() && btc["next_attempt"].is_string(),
        "{btc}"
    );
    assert_eq!(
        (&usd["status"], &usd["code"]),
        (&json!("warn"), &json!("http_status"))
    );
    assert_eq!(usd["output"], "HTTP 503 Service Unavailable");
    assert_eq!(usd["consecutive_failures"], 1);
    let note = body["notes"][0].as_str().unwrap();
    assert!(
        note.starts_with("usd: warn (fresh): http_status since 2"),
        "{note}"
    );
    assert!(note.ends_with(": HTTP 503 Service Unavailable"), "{note}");
    assert_eq!(body["notes"].as_array().unwrap().len(), 1);
    let names: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["btc", "clima", "usd"],
        "in the order of the configuration"
    );
}

#[test]
fn health_lists_each_provider() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |_| {
        ScriptedAction::RateLimit(Duration::from_secs(600))
    });
    fetch.set_script("second", |call| match call {
        0 => ScriptedAction::Fail(Code::HttpStatus, Duration::ZERO),
        _ => ScriptedAction::Respond("1", Duration::ZERO),
    });
    let schedule = Schedule {
        min_interval: Duration::ZERO,
        ..test_schedule()
    };
    let server = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["first", "second", "third"], schedule)],
        {
            fetch.set_script("third", |call| {
                ScriptedAction::Fail([Code::Timeout, Code::NotJson][call.min(1)], Duration::ZERO)
            });
            fetch
        },
    );
    let mut client = server.connect_client();
    let mut request_live = || {
        assert_eq!(client.get("/resumen?fresh=1").status, 200);
        client.get("/salud/fuentes?_=1").json()["checks"]["a"][0].clone()
    };
    let (one, two) = (request_live(), request_live());
    let reported = |check: &Value, at: usize| {
        let provider = &check["providers"][at];
        let text = |key: &str| provider[key].as_str().unwrap_or("-").to_owned();
        (
            text("provider"),
            text("status"),
            text("code"),
            provider["consecutive_failures"].as_u64().unwrap(),
        )
    };
    let row = |name: &str, status: &str, code: &str, failures| {
        (name.into(), status.into(), code.into(), failures)
    };
    assert_eq!(reported(&one, 0), row("first", "fail", "rate_limited", 1));
    assert_eq!(reported(&one, 1), row("second", "fail", "http_status", 1));
    assert_eq!(reported(&one, 2), row("third", "fail", "timeout", 1));
    assert_eq!(
        reported(&two, 0),
        row("first", "fail", "rate_limited", 1),
        "held back"
    );
    assert_eq!(reported(&two, 1), row("second", "pass", "-", 0));
    assert_eq!(
        reported(&two, 2),
        row("third", "fail", "timeout", 1),
        "not called"
    );
    let first = &two["providers"][0];
    assert_eq!(first["held_until"], first["next_attempt"]);
    assert_eq!(first["failing_since"], one["providers"][0]["failing_since"]);
    assert_eq!(two["providers"][1]["next_attempt"], two["next_attempt"]);
}
