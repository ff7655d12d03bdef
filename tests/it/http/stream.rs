//! `/resumen/stream` and `/salud/fuentes`.

use std::time::Duration;

use resumen::domain::{Code, Pace};
use serde_json::{Value, json};

use super::{fill, serve_with, served};
use crate::support::client::Client;
use crate::support::scripted::{Act, Scripted, pace, source};
use crate::support::served::Served;
use crate::support::stand::{Stand, settings};
use crate::support::stub::Stub;

fn listen(stand: &Stand) -> Client {
    let mut client = stand.client();
    client.send("GET /resumen/stream HTTP/1.1\r\nHost: a\r\nLast-Event-ID: old\r\n\r\n");
    let (status, headers) = client.head();
    assert_eq!(status, 200);
    assert!(
        headers.contains(&("content-type".into(), "text/event-stream".into())),
        "{headers:?}"
    );
    retry(&mut client);
    client
}

/// The next word, which must be when to come back.
#[track_caller]
fn retry(client: &mut Client) {
    let word = String::from_utf8(client.chunk().expect("a word")).unwrap();
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
fn event(client: &mut Client) -> (String, Value) {
    let text = String::from_utf8(client.chunk().expect("an event")).unwrap();
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
fn the_snapshot_comes_at_once_and_then_every_change() {
    let stand = served();
    let mut client = listen(&stand);
    let (first, body) = event(&mut client);
    assert_eq!(body["version"], first);
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 97123.45}));
    stand.reading("btc", r#"{"usd":1}"#);
    let (second, body) = event(&mut client);
    assert_ne!(first, second);
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 1}));
    stand.failure("usd", Code::Timeout, "late");
    assert_eq!(event(&mut client).1["resultados"]["usd"]["code"], "timeout");
}

#[test]
fn growing_old_is_a_change() {
    let moment = Duration::from_millis(300);
    let short = Pace {
        interval: moment / 3,
        timeout: moment / 3,
        ..pace()
    };
    let stand = Stand::start(
        settings(),
        &[source("a", &["provider"], short)],
        Scripted::default(),
    );
    stand.reading("a", "1");
    let mut client = listen(&stand);
    assert_eq!(event(&mut client).1["resultados"]["a"]["stale"], false);
    assert_eq!(event(&mut client).1["resultados"]["a"]["stale"], true);
}

#[test]
fn a_drain_ends_the_stream_with_when_to_come_back() {
    let mut stand = served();
    let mut client = listen(&stand);
    event(&mut client);
    stand.drain.cancel();
    retry(&mut client);
    assert_eq!(client.chunk(), None);
    assert!(stand.stop(Duration::from_secs(2)).is_some());
}

#[test]
fn who_takes_nothing_is_dropped_and_the_others_get_the_newest() {
    let impatient = resumen::config::Server {
        idle_timeout: Duration::from_millis(400),
        ..settings()
    };
    let stand = serve_with(impatient);
    fill(&stand);
    let mut deaf = listen(&stand);
    let mut other = listen(&stand);
    event(&mut other);
    assert_eq!(clients(&stand), 2);
    let filler = "x".repeat(500_000);
    let ended = (0..200).any(|n| {
        stand.reading("btc", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#));
        let newest = std::iter::repeat_with(|| event(&mut other).1)
            .find(|body| body["resultados"]["btc"]["data"]["n"] == n);
        assert!(newest.is_some());
        clients(&stand) < 2
    });
    assert!(ended, "still there");
    let mut left = 0;
    while deaf.next_bytes() > 0 {
        left += 1;
    }
    assert!(left < 10_000);
}

#[test]
fn half_of_the_connections_are_kept_from_the_stream() {
    let stand = serve_with(resumen::config::Server {
        max_connections: 4,
        ..settings()
    });
    fill(&stand);
    let (mut one, _two) = (listen(&stand), listen(&stand));
    let refused = stand.client().get("/resumen/stream");
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
        stand.client().get("/resumen").status,
        200,
        "others are served"
    );
    event(&mut one);
    drop(one);
    // Who is gone is noticed when something is written to it.
    let found = (0..1000).any(|n| {
        stand.reading("btc", &n.to_string());
        std::thread::sleep(Duration::from_millis(5));
        stand.client().ask("HEAD", "/resumen/stream", &[]).status == 200
    });
    assert!(found, "a place that was given up is never given to another");
}

fn clients(stand: &Stand) -> usize {
    let page = stand.client().get("/metrics");
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("resumen_stream_clients "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_stream_has_no_parameters() {
    let stand = served();
    let mut client = stand.client();
    assert_eq!(
        client.get("/resumen/stream?sources=btc").json()["code"],
        "unknown_parameter"
    );
    let head = client.ask("HEAD", "/resumen/stream?_=1", &[]);
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    assert_eq!(client.get("/salud/listo").status, 200);
}

#[test]
fn a_provider_that_another_one_hides_is_named_for_whoever_is_on_call() {
    let (bad, good) = (Stub::json("0"), Stub::json("1"));
    bad.change(|answer| answer.status = "503 Service Unavailable");
    let provider = |name, stub: &Stub| {
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
    let served = Served::start(&text);
    served.until("/resumen", |answer| {
        answer["resultados"]["usd"]["provider"] == "other"
    });
    let report = served.json("/salud/fuentes");
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

    good.change(|answer| answer.status = "404 Not Found");
    served.until("/resumen", |answer| {
        answer["resultados"]["usd"]["code"] == "http_status"
    });
    bad.says("2");
    served.until("/resumen", |answer| {
        answer["resultados"]["usd"]["provider"] == "preferred"
    });
    assert_eq!(
        served.json("/salud/fuentes")["notes"],
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
fn sources_are_told_for_whoever_is_on_call() {
    let stand = served();
    stand.failure("usd", Code::HttpStatus, "HTTP 503 Service Unavailable");
    let answer = stand.client().get("/salud/fuentes");
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
fn each_provider_is_told_with_its_own_failures_and_plan() {
    let providers = Scripted::default();
    providers.script("first", |_| Act::Hold(Duration::from_secs(600)));
    providers.script("second", |call| match call {
        0 => Act::Fail(Code::HttpStatus, Duration::ZERO),
        _ => Act::Answer("1", Duration::ZERO),
    });
    let often = Pace {
        min_interval: Duration::ZERO,
        ..pace()
    };
    let stand = Stand::start(
        settings(),
        &[source("a", &["first", "second", "third"], often)],
        {
            providers.script("third", |call| {
                Act::Fail([Code::Timeout, Code::NotJson][call.min(1)], Duration::ZERO)
            });
            providers
        },
    );
    let mut client = stand.client();
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
