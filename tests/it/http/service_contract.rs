//! The whole service against providers on real sockets, as the original service's clients and people on call see it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_provider::FakeProvider;
use crate::support::faulty_provider::FaultyProvider;
use crate::support::test_app::{TestApp, parse_test_config, source_tables};

/// What clients of the original service read.
fn assert_original_shape(answer: &Value) {
    assert!(
        answer["origen"].is_string() && answer["timeout_s"].is_number(),
        "{answer:#}"
    );
    for key in ["asincronia", "multithreading"] {
        assert!(answer[key].as_str().unwrap().len() > 40, "{key}");
    }
    for (name, source) in answer["resultados"].as_object().unwrap() {
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
    let (btc, usd) = (
        FakeProvider::with_json(r#"{"usd":97123.45}"#),
        FakeProvider::with_json("{}"),
    );
    usd.update_response(|answer| answer.status = "503 Service Unavailable");
    let served = TestApp::start(&source_tables(&[("btc", btc.url()), ("usd", usd.url())]));
    for (path, origen) in [
        ("/resumen", "snapshot"),
        ("/resumen?fresh=1&timeout=2.5", "live"),
    ] {
        let answer = served.get_json(path);
        assert_original_shape(&answer);
        assert_eq!(answer["origen"], origen);
        assert_eq!(
            answer["resultados"]["btc"]["data"],
            json!({"usd": 97123.45})
        );
        assert_eq!(answer["resultados"]["usd"]["ok"], false);
        assert_eq!(
            answer["resultados"]["usd"]["error"],
            "HTTP 503 Service Unavailable"
        );
        assert_eq!(answer["complete"], false);
    }
    assert_eq!(served.get_json("/salud"), json!({"status": "ok"}));
    assert_eq!(served.get("/nada").status, 404);
}

#[test]
fn body_has_exactly_its_fields() {
    let (good, bad) = (FakeProvider::with_json("1"), FakeProvider::with_json("x"));
    let text = source_tables(&[("good", good.url()), ("bad", bad.url())])
        + "attribution = \"by somebody\"\n";
    let answer = TestApp::start(&text).get_json("/resumen");
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&answer),
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
    assert_eq!(keys(&answer["resultados"]["good"]), good);
    let bad = [
        "ok",
        "ms",
        "from",
        "error",
        "code",
        "failing_since",
        "attribution",
    ];
    assert_eq!(keys(&answer["resultados"]["bad"]), bad);
    assert_eq!(answer["resultados"]["bad"]["code"], "not_json");
}

#[test]
fn error_keeps_last_good_data() {
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let text = source_tables(&[("a", stub.url())]) + "min_interval = \"1ms\"\n";
    let served = TestApp::start(&text);
    let first = served.get_json("/resumen");
    assert_eq!(first["complete"], true);
    stub.update_response(|answer| answer.status = "500 Internal Server Error");
    let failing = served.wait_for_json("/resumen?fresh=1", |answer| {
        answer["resultados"]["a"]["code"] == "http_status"
    });
    let a = &failing["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["data"], &a["from"]),
        (&json!(true), &json!({"n": 1}), &json!("snapshot"))
    );
    let since = a["failing_since"].clone();
    assert_eq!(
        served.get_json("/resumen?fresh=1")["resultados"]["a"]["failing_since"],
        since
    );
    stub.set_json(r#"{"n":2}"#);
    let again = served.wait_for_json("/resumen?fresh=1", |answer| {
        answer["resultados"]["a"]["data"] == json!({"n": 2})
    });
    assert_eq!(again["resultados"]["a"].get("code"), None);
    assert_eq!(
        served.get_json("/resumen")["resultados"]["a"]["data"],
        json!({"n": 2}),
        "published"
    );
}

#[test]
fn first_response_waits_until_timeout() {
    let (quick, slow) = (FakeProvider::with_json("1"), FakeProvider::with_json("2"));
    slow.update_response(|answer| answer.delay = Duration::from_secs(3));
    let served = TestApp::start(&source_tables(&[
        ("quick", quick.url()),
        ("slow", slow.url()),
    ]));
    let answer = served.get_json("/resumen?timeout=0.3");
    assert_eq!(answer["resultados"]["slow"]["code"], "pending");
    assert_eq!(answer["resultados"]["quick"]["ok"], true);
    let answer = served.get_json("/resumen?sources=quick");
    assert_eq!(answer["resultados"].as_object().unwrap().len(), 1);
    let answer = served.get_json("/resumen");
    assert_eq!(answer["resultados"]["slow"]["ok"], true, "it waited");
}

#[test]
fn number_digits_are_preserved() {
    let text = r#"{"big":12345678901234567890,"dec":0.1000,"huge":1e400,"neg":-0.0}"#;
    let stub = FakeProvider::with_json(text);
    let served = TestApp::start(&source_tables(&[("a", stub.url())]));
    let body = String::from_utf8(served.get("/resumen").body).unwrap();
    assert!(body.contains(&format!("\"data\":{text}")), "{body}");
}

#[test]
fn cold_start_failures_have_reasons() {
    let closed = FaultyProvider::with_closed_port();
    let url = format!("http://{}/", closed.address);
    let served = TestApp::start(&source_tables(&[("a", url.clone()), ("b", url)]));
    let reply = served.get("/resumen");
    assert_eq!(reply.status, 200);
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    for source in answer["resultados"].as_object().unwrap().values() {
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
    b.update_response(|answer| answer.status = "503 Service Unavailable");
    let list = [("a", a.url()), ("b", b.url())];
    let served = TestApp::start(
        &(source_tables(&list) + "[defaults]\ninterval = \"1h\"\nmin_interval = \"1ms\"\n"),
    );
    served.get_json("/resumen");
    let reply = served.get("/resumen?fresh=1");
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

    a.update_response(|answer| answer.delay = Duration::from_secs(2));
    let calls = a.call_count();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| served.get("/resumen?fresh=1&sources=a"));
        while a.call_count() == calls {}
        let second = served.get("/resumen?fresh=1&sources=a");
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
    let stub = FakeProvider::with_json("1");
    let served = TestApp::start(
        &(source_tables(&[("a", stub.url())]) + "interval = \"1h\"\nttl = \"2s\"\n"),
    );
    served.get_json("/resumen");
    let left = || {
        let status = served
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
    let mut all = vec![left()];
    while *all.last().unwrap() > -2 {
        all.push(left());
    }
    assert!(
        all[0] <= 2 && all.is_sorted_by(|one, next| one >= next),
        "{all:?}"
    );
    let stale = served.get_json("/resumen");
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
    let stub = FakeProvider::with_json("1");
    let text = source_tables(&[("a", stub.url())]) + "interval = \"1h\"\nmin_interval = \"1m\"\n";
    let served = TestApp::start(&text);
    served.get_json("/resumen");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..50).for_each(|_| assert_eq!(served.get("/resumen?fresh=1").status, 200))
            });
        }
    });
    assert_eq!(stub.call_count(), 1);
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
    let served = TestApp::start(&text);
    let value =
        served.get_json("/resumen?fresh=1&sources=btc_ars")["resultados"]["btc_ars"].clone();
    assert_eq!(
        (&value["data"], &value["ok"]),
        (&json!({"ars": 300}), &json!(true))
    );
    usd.set_json(r#"{"ARS":0}"#);
    let answer = served.wait_for_json("/resumen?fresh=1", |answer| {
        answer["resultados"]["usd"]["data"]["ARS"] == 0
    });
    let value = &answer["resultados"]["btc_ars"];
    assert_eq!(
        (&value["data"], &value["code"]),
        (&json!({"ars": 300}), &json!("extract_failed")),
        "{value:#}"
    );
    assert!(
        value["error"].as_str().unwrap().contains("no rate"),
        "{value:#}"
    );
    usd.update_response(|answer| answer.status = "502 Bad Gateway");
    let answer = served.wait_for_json("/resumen?fresh=1", |answer| {
        answer["resultados"]["usd"]["code"] == "http_status"
    });
    assert_eq!(answer["complete"], false);
}

#[test]
fn compression_keeps_live_deadline() {
    let stub = FakeProvider::with_json(&format!("\"{}\"", "x".repeat(200 << 10)));
    let served =
        TestApp::start(&(source_tables(&[("large", stub.url())]) + "min_interval = \"1ms\"\n"));
    let coding = |path: &str, takes: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: {takes}\r\n\r\n"
        );
        let reply = served.send_raw(&request);
        assert_eq!(reply.status, 200);
        reply.header("content-encoding").map(str::to_owned)
    };
    assert_eq!(coding("/resumen?fresh=1", "gzip, br"), None);
    assert_eq!(
        coding("/resumen?fresh=1", "gzip, identity;q=0").as_deref(),
        Some("gzip")
    );
    assert_eq!(coding("/resumen", "gzip").as_deref(), Some("gzip"));
}

#[test]
fn slow_derived_filter_delays_no_source() {
    let stub = FakeProvider::with_json(r#"{"n":1e12}"#);
    let text = source_tables(&[("x", stub.url())])
        + "min_interval = \"1ms\"\n[derived.slow]\nfrom = [\"x\"]\nextract = 'last(range(.x.n))'\n\
           [derived.quick]\nfrom = [\"x\"]\n";
    let served = TestApp::start(&text);
    served.wait_for_json("/resumen", |answer| {
        answer["resultados"]["slow"]["code"] == "extract_timeout"
    });
    // One filter ends after half a second, at every swap; on a busy machine the other one may take a while too.
    let in_time = |_| {
        let answer = served.get_json("/resumen?fresh=1&timeout=0.4&sources=x,quick");
        let fetched = |name: &str| answer["resultados"][name]["fetched_at"].clone();
        answer["complete"] == true && fetched("x") == fetched("quick")
    };
    assert!((0..20).any(in_time));
}

#[test]
fn reload_redacts_old_and_new_secrets() {
    let (html, refusal) = (
        FakeProvider::with_json("<p>token-0123456789 token-9876543210</p>"),
        FakeProvider::with_json(r#"{"e":"token-0123456789"}"#),
    );
    let text = |token: &str| {
        let header =
            format!("headers = {{ Authorization = \"Bearer {token}\" }}\nmin_interval = \"1ms\"\n");
        source_tables(&[("html", html.url())])
            + &header
            + &format!(
                "[sources.refusal]\nurl = \"{}\"\nextract = 'error(.e)'\n",
                refusal.url()
            )
            + "[sources.good]\nurl = \""
            + &refusal.url()
            + "\"\n"
            + "[derived.computed]\nfrom = [\"good\"]\nextract = 'error(.good.e)'\n"
    };
    let (old, new) = (
        parse_test_config(&text("token-0123456789")),
        parse_test_config(&text("token-9876543210")),
    );
    let served = TestApp::start_with_config(&old);
    let answer = served.wait_for_json("/resumen", |answer| {
        answer["resultados"]["computed"]["code"] == "extract_failed"
    });
    for name in ["html", "refusal", "computed"] {
        let error = answer["resultados"][name]["error"].as_str().unwrap();
        assert!(
            error.contains("***") && !error.contains("token-0123456789"),
            "{name}: {error}"
        );
    }
    served.service.reloader().reload(&old, &new).unwrap();
    let masked = |error: &str| error.contains("*** ***") && !error.contains("token");
    let html = |answer: &Value| {
        answer["resultados"]["html"]["error"]
            .as_str()
            .is_some_and(masked)
    };
    served.wait_for_json("/resumen?fresh=1", html);
}
