//! `/resumen/stream` and `/salud/fuentes`.

use std::time::Duration;

use resumen::domain::{Code, Schedule};
use serde_json::{Value, json};

use crate::http::{publish_readings, server_with_readings, start_server};
use crate::support::fake_provider::FakeProvider;
use crate::support::raw_client::RawHttpClient;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_app::TestApp;
use crate::support::test_server::{TestServer, default_server_settings};

fn open_stream(stand: &TestServer) -> RawHttpClient {
    let mut client = stand.connect_client();
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

/// The next word, which must be when to come back.
#[track_caller]
fn read_retry(client: &mut RawHttpClient) {
    let word = String::from_utf8(client.read_chunk().expect("a word")).unwrap();
    let millis: u64 = word
        .strip_prefix("retry: ")
        .and_then(|text| text.strip_suffix("\n\n"))
        .unwrap()
        .parse()
        .unwrap();
    assert!((2000..=4000).contains(&millis), "{millis}");
}

/// The next event's id and data.
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
    let stand = server_with_readings();
    let mut client = open_stream(&stand);
    let (first, body) = read_event(&mut client);
    assert_eq!(body["version"], first);
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 97123.45}));
    stand.publish_reading("btc", r#"{"usd":1}"#);
    let (second, body) = read_event(&mut client);
    assert_ne!(first, second);
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 1}));
    stand.publish_failure("usd", Code::Timeout, "late");
    assert_eq!(
        read_event(&mut client).1["resultados"]["usd"]["code"],
        "timeout"
    );
}

#[test]
fn staleness_sends_event() {
    let moment = Duration::from_millis(300);
    let short = Schedule {
        interval: moment / 3,
        timeout: moment / 3,
        ..test_schedule()
    };
    let stand = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["provider"], short)],
        ScriptedFetch::default(),
    );
    stand.publish_reading("a", "1");
    let mut client = open_stream(&stand);
    assert_eq!(read_event(&mut client).1["resultados"]["a"]["stale"], false);
    assert_eq!(read_event(&mut client).1["resultados"]["a"]["stale"], true);
}

#[test]
fn drain_sends_retry_and_ends_stream() {
    let mut stand = server_with_readings();
    let mut client = open_stream(&stand);
    read_event(&mut client);
    stand.drain.cancel();
    read_retry(&mut client);
    assert_eq!(client.read_chunk(), None);
    assert!(stand.stop(Duration::from_secs(2)).is_some());
}

#[test]
fn slow_stream_client_is_closed() {
    let impatient = resumen::config::ServerSettings {
        idle_timeout: Duration::from_millis(400),
        ..default_server_settings()
    };
    let stand = start_server(impatient);
    publish_readings(&stand);
    let mut deaf = open_stream(&stand);
    let mut other = open_stream(&stand);
    read_event(&mut other);
    assert_eq!(stream_client_count(&stand), 2);
    let filler = "x".repeat(500_000);
    let ended = (0..200).any(|n| {
        stand.publish_reading("btc", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#));
        let newest = std::iter::repeat_with(|| read_event(&mut other).1)
            .find(|body| body["resultados"]["btc"]["data"]["n"] == n);
        assert!(newest.is_some());
        stream_client_count(&stand) < 2
    });
    assert!(ended, "still there");
    let mut left = 0;
    while deaf.read_byte_count() > 0 {
        left += 1;
    }
    assert!(left < 10_000);
}

#[test]
fn streams_are_capped_at_half() {
    let stand = start_server(resumen::config::ServerSettings {
        max_connections: 4,
        ..default_server_settings()
    });
    publish_readings(&stand);
    let (mut one, _two) = (open_stream(&stand), open_stream(&stand));
    let refused = stand.connect_client().get("/resumen/stream");
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
        stand.connect_client().get("/resumen").status,
        200,
        "others are served"
    );
    read_event(&mut one);
    drop(one);
    // Who is gone is noticed when something is written to it.
    let found = (0..1000).any(|n| {
        stand.publish_reading("btc", &n.to_string());
        std::thread::sleep(Duration::from_millis(5));
        stand
            .connect_client()
            .send_request("HEAD", "/resumen/stream", &[])
            .status
            == 200
    });
    assert!(found, "a place that was given up is never given to another");
}

fn stream_client_count(stand: &TestServer) -> usize {
    let page = stand.connect_client().get("/metrics");
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("resumen_stream_clients "));
    line.unwrap().parse().unwrap()
}

#[test]
fn stream_rejects_parameters() {
    let stand = server_with_readings();
    let mut client = stand.connect_client();
    assert_eq!(
        client.get("/resumen/stream?sources=btc").json()["code"],
        "unknown_parameter"
    );
    let head = client.send_request("HEAD", "/resumen/stream?_=1", &[]);
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    assert_eq!(client.get("/salud/listo").status, 200);
}

#[test]
fn health_lists_hidden_failure() {
    let (bad, good) = (FakeProvider::with_json("0"), FakeProvider::with_json("1"));
    bad.update_response(|answer| answer.status = "503 Service Unavailable");
    let provider = |name, stub: &FakeProvider| {
        format!(
            "[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{}\"\n",
            stub.url()
        )
    };
    let quick = "[defaults]\ninterval = \"50ms\"\ntimeout = \"50ms\"\nttl = \"1m\"\nmin_interval = \"1ms\"\n";
    let text = format!(
        "[store]\npath = \"\"\n{quick}{}{}",
        provider("preferred", &bad),
        provider("other", &good)
    );
    let served = TestApp::start(&text);
    served.wait_for_json("/resumen", |answer| {
        answer["resultados"]["usd"]["provider"] == "other"
    });
    let report = served.get_json("/salud/fuentes");
    assert_eq!(report["status"], "pass");
    let note = report["notes"][0].as_str().unwrap();
    assert!(
        note.starts_with("usd: pass (fresh): provider preferred: http_status since 2"),
        "{note}"
    );
    assert!(note.ends_with("Z: HTTP 503 Service Unavailable"), "{note}");
    let page = String::from_utf8(served.get("/metrics").body).unwrap();
    let series = "resumen_provider_failing_since_timestamp_seconds{source=\"usd\",provider=\"preferred\",code=\"http_status\"} ";
    let since = page
        .lines()
        .find_map(|line| line.strip_prefix(series))
        .unwrap_or_else(|| panic!("{page}"));
    assert!(since.parse::<f64>().unwrap() > 1.6e9);
    assert_eq!(
        page.matches("resumen_provider_failing_since_timestamp_seconds{")
            .count(),
        1
    );

    good.update_response(|answer| answer.status = "404 Not Found");
    served.wait_for_json("/resumen", |answer| {
        answer["resultados"]["usd"]["code"] == "http_status"
    });
    bad.set_json("2");
    served.wait_for_json("/resumen", |answer| {
        answer["resultados"]["usd"]["provider"] == "preferred"
    });
    assert_eq!(
        served.get_json("/salud/fuentes")["notes"],
        Value::Null,
        "nobody knows how the other one is by now"
    );
    let page = String::from_utf8(served.get("/metrics").body).unwrap();
    assert!(
        !page.contains("resumen_provider_failing_since_timestamp_seconds{"),
        "{page}"
    );
}

#[test]
fn health_lists_sources() {
    let stand = server_with_readings();
    stand.publish_failure("usd", Code::HttpStatus, "HTTP 503 Service Unavailable");
    let answer = stand.connect_client().get("/salud/fuentes");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/health+json"))
    );
    let body = answer.json();
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
    let providers = ScriptedFetch::default();
    providers.set_script("first", |_| {
        ScriptedAction::RateLimit(Duration::from_secs(600))
    });
    providers.set_script("second", |call| match call {
        0 => ScriptedAction::Fail(Code::HttpStatus, Duration::ZERO),
        _ => ScriptedAction::Respond("1", Duration::ZERO),
    });
    let often = Schedule {
        min_interval: Duration::ZERO,
        ..test_schedule()
    };
    let stand = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["first", "second", "third"], often)],
        {
            providers.set_script("third", |call| {
                ScriptedAction::Fail([Code::Timeout, Code::NotJson][call.min(1)], Duration::ZERO)
            });
            providers
        },
    );
    let mut client = stand.connect_client();
    let mut round = || {
        assert_eq!(client.get("/resumen?fresh=1").status, 200);
        client.get("/salud/fuentes?_=1").json()["checks"]["a"][0].clone()
    };
    let (one, two) = (round(), round());
    let told = |check: &Value, at: usize| {
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
    assert_eq!(told(&one, 0), row("first", "fail", "rate_limited", 1));
    assert_eq!(told(&one, 1), row("second", "fail", "http_status", 1));
    assert_eq!(told(&one, 2), row("third", "fail", "timeout", 1));
    assert_eq!(
        told(&two, 0),
        row("first", "fail", "rate_limited", 1),
        "held, so it was not asked again"
    );
    assert_eq!(told(&two, 1), row("second", "pass", "-", 0));
    assert_eq!(
        told(&two, 2),
        row("third", "fail", "timeout", 1),
        "not needed"
    );
    let first = &two["providers"][0];
    assert_eq!(first["held_until"], first["next_attempt"]);
    assert_eq!(first["failing_since"], one["providers"][0]["failing_since"]);
    assert_eq!(two["providers"][1]["next_attempt"], two["next_attempt"]);
}
