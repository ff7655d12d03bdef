//! The contract of `/resumen` for the clients of the original service, with the whole service and
//! providers on real sockets.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};
use crate::support::wait::wait_until;

/// Asserts the fields that clients of the original service read.
fn assert_original_shape(response: &Value) {
    assert!(
        response["origen"].is_string() && response["timeout_s"].is_number(),
        "{response:#}"
    );
    for key in ["asincronia", "multithreading"] {
        assert!(response[key].as_str().unwrap().len() > 40, "{key}");
    }
    for (name, source) in response["resultados"].as_object().unwrap() {
        let ok = source["ok"].as_bool().unwrap();
        assert_eq!(source.get("data").is_some(), ok, "{name}");
        assert!(
            ok || !source["error"].as_str().unwrap().is_empty(),
            "{name}"
        );
        assert!(source["ms"].as_f64().unwrap() >= 0.0, "{name}");
    }
}

#[test]
fn original_clients_still_work() {
    let btc = FakeProvider::with_json(r#"{"usd":97123.45}"#);
    let usd = FakeProvider::with_status("503 Service Unavailable");
    let app = TestApp::start(&source_tables(&[("btc", btc.url()), ("usd", usd.url())]));
    for (path, origen) in [
        ("/resumen", "snapshot"),
        ("/resumen?fresh=1&timeout=2.5", "live"),
    ] {
        let response = app.get_json(path);
        assert_original_shape(&response);
        assert_eq!(response["origen"], origen);
        assert_eq!(
            response["resultados"]["btc"]["data"],
            json!({"usd": 97123.45})
        );
        assert_eq!(response["resultados"]["usd"]["ok"], false);
        assert_eq!(
            response["resultados"]["usd"]["error"],
            "HTTP 503 Service Unavailable"
        );
        assert_eq!(response["complete"], false);
    }
    assert_eq!(app.get_json("/salud"), json!({"status": "ok"}));
    assert_eq!(app.get("/nada").status, 404);
}

#[test]
fn body_has_exactly_its_fields() {
    let (good, bad) = (FakeProvider::with_json("1"), FakeProvider::with_json("x"));
    let text = source_tables(&[("good", good.url()), ("bad", bad.url())])
        + "attribution = \"by a provider\"\n";
    let response = TestApp::start(&text).get_json("/resumen");
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&response),
        [
            "origen",
            "version",
            "generated_at",
            "timeout_s",
            "complete",
            "asincronia",
            "multithreading",
            "resultados"
        ]
    );
    let good = [
        "ok",
        "data",
        "ms",
        "provider",
        "fetched_at",
        "age_ms",
        "stale",
        "from",
    ];
    assert_eq!(keys(&response["resultados"]["good"]), good);
    let bad = [
        "ok",
        "ms",
        "from",
        "error",
        "code",
        "failing_since",
        "attribution",
    ];
    assert_eq!(keys(&response["resultados"]["bad"]), bad);
    assert_eq!(response["resultados"]["bad"]["code"], "not_json");
}

#[test]
fn error_keeps_last_good_data() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let text = source_tables(&[("a", provider.url())]) + "min_interval = \"1ms\"\n";
    let app = TestApp::start(&text);
    let first = app.get_json("/resumen");
    assert_eq!(first["complete"], true);
    provider.set_status("500 Internal Server Error");
    let failing = app.wait_for_json("/resumen?fresh=1", |response| {
        response["resultados"]["a"]["code"] == "http_status"
    });
    let a = &failing["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["data"], &a["from"]),
        (&json!(true), &json!({"n": 1}), &json!("snapshot"))
    );
    let since = a["failing_since"].clone();
    assert_eq!(
        app.get_json("/resumen?fresh=1")["resultados"]["a"]["failing_since"],
        since
    );
    provider.set_json(r#"{"n":2}"#);
    let recovered = app.wait_for_json("/resumen?fresh=1", |response| {
        response["resultados"]["a"]["data"] == json!({"n": 2})
    });
    assert_eq!(recovered["resultados"]["a"].get("code"), None);
    assert_eq!(
        app.get_json("/resumen")["resultados"]["a"]["data"],
        json!({"n": 2}),
        "published"
    );
}

#[test]
fn first_response_waits_until_timeout() {
    let (quick, slow) = (FakeProvider::with_json("1"), FakeProvider::with_json("2"));
    slow.set_delay(Duration::from_secs(3));
    let app = TestApp::start(&source_tables(&[
        ("quick", quick.url()),
        ("slow", slow.url()),
    ]));
    let response = app.get_json("/resumen?timeout=0.3");
    assert_eq!(response["resultados"]["slow"]["code"], "pending");
    assert_eq!(response["resultados"]["quick"]["ok"], true);
    let response = app.get_json("/resumen?sources=quick");
    assert_eq!(response["resultados"].as_object().unwrap().len(), 1);
    let response = app.get_json("/resumen");
    assert_eq!(
        response["resultados"]["slow"]["ok"], true,
        "the response waited for the reading"
    );
}

#[test]
fn number_digits_are_preserved() {
    let text = r#"{"big":12345678901234567890,"dec":0.1000,"huge":1e400,"neg":-0.0}"#;
    let provider = FakeProvider::with_json(text);
    let app = TestApp::start(&source_tables(&[("a", provider.url())]));
    let body = app.get("/resumen").body;
    assert!(body.contains(&format!("\"data\":{text}")), "{body}");
}

#[test]
fn cold_start_failures_have_reasons() {
    let closed = FakeProvider::with_closed_port();
    let url = closed.url();
    let app = TestApp::start(&source_tables(&[("a", url.clone()), ("b", url)]));
    let reply = app.get("/resumen");
    assert_eq!(reply.status, 200);
    let response = reply.json();
    for source in response["resultados"].as_object().unwrap().values() {
        assert_eq!(
            (&source["ok"], &source["code"]),
            (&json!(false), &json!("connect_refused"))
        );
    }
    assert_eq!(reply.header("cache-status"), Some("resumen; fwd=miss"));
    assert_eq!(reply.header("cdn-cache-control"), None);
}

#[test]
fn live_response_is_private() {
    let (a, b) = (FakeProvider::with_json("1"), FakeProvider::with_json("2"));
    b.set_status("503 Service Unavailable");
    let sources = [("a", a.url()), ("b", b.url())];
    let app = TestApp::start(
        &(source_tables(&sources) + "[defaults]\ninterval = \"1h\"\nmin_interval = \"1ms\"\n"),
    );
    app.get_json("/resumen");
    let reply = app.get("/resumen?fresh=1");
    assert_eq!(reply.header("cache-status"), Some("resumen; fwd=request"));
    assert_eq!(reply.header("cdn-cache-control"), None);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let timing = reply.header("server-timing").unwrap();
    let parts: Vec<Vec<&str>> = timing
        .split(", ")
        .map(|part| part.split(';').collect())
        .collect();
    let is_duration = |text: &str| {
        text.strip_prefix("dur=")
            .is_some_and(|n| n.parse::<f64>().is_ok())
    };
    assert!(parts.iter().all(|part| is_duration(part[1])), "{timing}");
    assert_eq!(
        (parts[0][0], parts[0].len(), parts[1][0]),
        ("a", 2, "b"),
        "{timing}"
    );
    assert_eq!(parts[1][2], "desc=\"http_status\"");

    a.set_delay(Duration::from_secs(2));
    let calls = a.call_count();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| app.get("/resumen?fresh=1&sources=a"));
        wait_until("the call of the first request", || a.call_count() > calls);
        let second = app.get("/resumen?fresh=1&sources=a");
        assert_eq!(
            second.header("cache-status"),
            Some("resumen; fwd=request; collapsed")
        );
        assert_eq!(
            first.join().unwrap().header("cache-status"),
            Some("resumen; fwd=request")
        );
    });
}

#[test]
fn cache_status_ttl_counts_down() {
    let provider = FakeProvider::with_json("1");
    let app = TestApp::start(
        &(source_tables(&[("a", provider.url())]) + "interval = \"1h\"\nttl = \"2s\"\n"),
    );
    app.get_json("/resumen");
    let current_ttl = || {
        let status = app
            .get("/resumen")
            .header("cache-status")
            .unwrap()
            .to_owned();
        status
            .strip_prefix("resumen; hit; ttl=")
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    let mut ttls = vec![current_ttl()];
    while *ttls.last().unwrap() > -2 {
        ttls.push(current_ttl());
    }
    assert!(
        ttls[0] <= 2 && ttls.is_sorted_by(|one, next| one >= next),
        "{ttls:?}"
    );
    let stale = app.get_json("/resumen");
    assert_eq!(
        (
            &stale["resultados"]["a"]["ok"],
            &stale["resultados"]["a"]["stale"]
        ),
        (&json!(true), &json!(true))
    );
}

#[test]
fn min_interval_suppresses_live_calls() {
    let provider = FakeProvider::with_json("1");
    let text =
        source_tables(&[("a", provider.url())]) + "interval = \"1h\"\nmin_interval = \"1m\"\n";
    let app = TestApp::start(&text);
    app.get_json("/resumen");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(app.get("/resumen?fresh=1").status, 200);
                }
            });
        }
    });
    assert_eq!(provider.call_count(), 1);
}

#[test]
fn live_updates_derived_first() {
    let (btc, usd) = (
        FakeProvider::with_json(r#"{"usd":3}"#),
        FakeProvider::with_json(r#"{"ARS":100}"#),
    );
    let text = source_tables(&[("btc", btc.url()), ("usd", usd.url())])
        + "min_interval = \"1ms\"\n[derived.btc_ars]\nfrom = [\"btc\", \"usd\"]\n\
           extract = 'if .usd.ARS > 0 then {ars: (.btc.usd * .usd.ARS)} else error(\"no rate\") end'\n";
    let app = TestApp::start(&text);
    let value = app.get_json("/resumen?fresh=1&sources=btc_ars")["resultados"]["btc_ars"].clone();
    assert_eq!(
        (&value["data"], &value["ok"]),
        (&json!({"ars": 300}), &json!(true))
    );
    usd.set_json(r#"{"ARS":0}"#);
    let response = app.wait_for_json("/resumen?fresh=1", |response| {
        response["resultados"]["usd"]["data"]["ARS"] == 0
    });
    let value = &response["resultados"]["btc_ars"];
    assert_eq!(
        (&value["data"], &value["code"]),
        (&json!({"ars": 300}), &json!("extract_failed")),
        "{value:#}"
    );
    assert!(
        value["error"].as_str().unwrap().contains("no rate"),
        "{value:#}"
    );
    usd.set_status("502 Bad Gateway");
    let response = app.wait_for_json("/resumen?fresh=1", |response| {
        response["resultados"]["usd"]["code"] == "http_status"
    });
    assert_eq!(response["complete"], false);
}

#[test]
fn compression_keeps_live_deadline() {
    let provider = FakeProvider::with_json(&format!("\"{}\"", "x".repeat(200 << 10)));
    let app =
        TestApp::start(&(source_tables(&[("large", provider.url())]) + "min_interval = \"1ms\"\n"));
    let response_encoding = |path: &str, accepted: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: {accepted}\r\n\r\n"
        );
        let reply = app.send_raw(&request);
        assert_eq!(reply.status, 200);
        reply.header("content-encoding").map(str::to_owned)
    };
    assert_eq!(response_encoding("/resumen?fresh=1", "gzip, br"), None);
    assert_eq!(
        response_encoding("/resumen?fresh=1", "gzip, identity;q=0").as_deref(),
        Some("gzip")
    );
    assert_eq!(
        response_encoding("/resumen", "gzip").as_deref(),
        Some("gzip")
    );
}

#[test]
fn slow_derived_filter_delays_no_source() {
    let provider = FakeProvider::with_json(r#"{"n":1e12}"#);
    let text = source_tables(&[("x", provider.url())])
        + "min_interval = \"1ms\"\n[derived.slow]\nfrom = [\"x\"]\nextract = 'last(range(.x.n))'\n\
           [derived.quick]\nfrom = [\"x\"]\n";
    let app = TestApp::start(&text);
    app.wait_for_json("/resumen", |response| {
        response["resultados"]["slow"]["code"] == "extract_timeout"
    });
    // The slow filter is stopped after half a second, each time. On a busy machine the quick filter may
    // be late in some attempts.
    let in_time = |_| {
        let response = app.get_json("/resumen?fresh=1&timeout=0.4&sources=x,quick");
        let fetched = |name: &str| response["resultados"][name]["fetched_at"].clone();
        response["complete"] == true && fetched("x") == fetched("quick")
    };
    assert!((0..20).any(in_time));
}
