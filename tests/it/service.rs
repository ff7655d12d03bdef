//! The whole service against providers on real sockets, as the original service's clients and people on call see it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fault::FaultServer;
use crate::support::served::{Served, config, sources};
use crate::support::stub::Stub;

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
fn the_original_services_clients_go_on_working_in_both_modes() {
    let (btc, usd) = (Stub::json(r#"{"usd":97123.45}"#), Stub::json("{}"));
    usd.change(|answer| answer.status = "503 Service Unavailable");
    let served = Served::start(&sources(&[("btc", btc.url()), ("usd", usd.url())]));
    for (path, origen) in [
        ("/resumen", "snapshot"),
        ("/resumen?fresh=1&timeout=2.5", "live"),
    ] {
        let answer = served.json(path);
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
    assert_eq!(served.json("/salud"), json!({"status": "ok"}));
    assert_eq!(served.get("/nada").status, 404);
}

#[test]
fn every_field_of_the_body_is_there_and_nothing_else() {
    let (good, bad) = (Stub::json("1"), Stub::json("x"));
    let text =
        sources(&[("good", good.url()), ("bad", bad.url())]) + "attribution = \"by somebody\"\n";
    let answer = Served::start(&text).json("/resumen");
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
fn last_good_data_stays_beside_the_error_and_its_beginning() {
    let stub = Stub::json(r#"{"n":1}"#);
    let text = sources(&[("a", stub.url())]) + "min_interval = \"1ms\"\n";
    let served = Served::start(&text);
    let first = served.json("/resumen");
    assert_eq!(first["complete"], true);
    stub.change(|answer| answer.status = "500 Internal Server Error");
    let failing = served.until("/resumen?fresh=1", |answer| {
        answer["resultados"]["a"]["code"] == "http_status"
    });
    let a = &failing["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["data"], &a["from"]),
        (&json!(true), &json!({"n": 1}), &json!("snapshot"))
    );
    let since = a["failing_since"].clone();
    assert_eq!(
        served.json("/resumen?fresh=1")["resultados"]["a"]["failing_since"],
        since
    );
    stub.says(r#"{"n":2}"#);
    let again = served.until("/resumen?fresh=1", |answer| {
        answer["resultados"]["a"]["data"] == json!({"n": 2})
    });
    assert_eq!(again["resultados"]["a"].get("code"), None);
    assert_eq!(
        served.json("/resumen")["resultados"]["a"]["data"],
        json!({"n": 2}),
        "published"
    );
}

#[test]
fn a_first_answer_waits_for_the_first_round_and_no_longer_than_its_timeout() {
    let (quick, slow) = (Stub::json("1"), Stub::json("2"));
    slow.change(|answer| answer.delay = Duration::from_secs(3));
    let served = Served::start(&sources(&[("quick", quick.url()), ("slow", slow.url())]));
    let answer = served.json("/resumen?timeout=0.3");
    assert_eq!(answer["resultados"]["slow"]["code"], "pending");
    assert_eq!(answer["resultados"]["quick"]["ok"], true);
    let answer = served.json("/resumen?sources=quick");
    assert_eq!(answer["resultados"].as_object().unwrap().len(), 1);
    let answer = served.json("/resumen");
    assert_eq!(answer["resultados"]["slow"]["ok"], true, "it waited");
}

#[test]
fn digits_pass_through_untouched() {
    let text = r#"{"big":12345678901234567890,"dec":0.1000,"huge":1e400,"neg":-0.0}"#;
    let stub = Stub::json(text);
    let served = Served::start(&sources(&[("a", stub.url())]));
    let body = String::from_utf8(served.get("/resumen").body).unwrap();
    assert!(body.contains(&format!("\"data\":{text}")), "{body}");
}

#[test]
fn with_every_provider_down_at_start_each_source_says_why() {
    let closed = FaultServer::closed();
    let url = format!("http://{}/", closed.address);
    let served = Served::start(&sources(&[("a", url.clone()), ("b", url)]));
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
fn a_live_answer_says_what_it_waited_for_and_that_no_shared_cache_may_keep_it() {
    let (a, b) = (Stub::json("1"), Stub::json("2"));
    b.change(|answer| answer.status = "503 Service Unavailable");
    let list = [("a", a.url()), ("b", b.url())];
    let served = Served::start(
        &(sources(&list) + "[defaults]\ninterval = \"1h\"\nmin_interval = \"1ms\"\n"),
    );
    served.json("/resumen");
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

    a.change(|answer| answer.delay = Duration::from_secs(2));
    let calls = a.calls();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| served.get("/resumen?fresh=1&sources=a"));
        while a.calls() == calls {}
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
fn cache_status_counts_down_to_staleness_and_below() {
    let stub = Stub::json("1");
    let served =
        Served::start(&(sources(&[("a", stub.url())]) + "interval = \"1h\"\nttl = \"2s\"\n"));
    served.json("/resumen");
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
    let stale = served.json("/resumen");
    assert_eq!(
        (
            &stale["resultados"]["a"]["ok"],
            &stale["resultados"]["a"]["stale"]
        ),
        (&json!(true), &json!(true))
    );
}

#[test]
fn live_requests_within_min_interval_call_nobody() {
    let stub = Stub::json("1");
    let text = sources(&[("a", stub.url())]) + "interval = \"1h\"\nmin_interval = \"1m\"\n";
    let served = Served::start(&text);
    served.json("/resumen");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..50).for_each(|_| assert_eq!(served.get("/resumen?fresh=1").status, 200))
            });
        }
    });
    assert_eq!(stub.calls(), 1);
}

#[test]
fn derived_sources_are_computed_before_a_live_answer_and_say_why_they_fail() {
    let (btc, usd) = (Stub::json(r#"{"usd":3}"#), Stub::json(r#"{"ARS":100}"#));
    let text = sources(&[("btc", btc.url()), ("usd", usd.url())])
        + "min_interval = \"1ms\"\n[derived.btc_ars]\nfrom = [\"btc\", \"usd\"]\n\
           extract = 'if .usd.ARS > 0 then {ars: (.btc.usd * .usd.ARS)} else error(\"no rate\") end'\n";
    let served = Served::start(&text);
    let value = served.json("/resumen?fresh=1&sources=btc_ars")["resultados"]["btc_ars"].clone();
    assert_eq!(
        (&value["data"], &value["ok"]),
        (&json!({"ars": 300}), &json!(true))
    );
    usd.says(r#"{"ARS":0}"#);
    let answer = served.until("/resumen?fresh=1", |answer| {
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
    usd.change(|answer| answer.status = "502 Bad Gateway");
    let answer = served.until("/resumen?fresh=1", |answer| {
        answer["resultados"]["usd"]["code"] == "http_status"
    });
    assert_eq!(answer["complete"], false);
}

#[test]
fn a_large_live_answer_is_not_made_late_by_compressing_it() {
    let stub = Stub::json(&format!("\"{}\"", "x".repeat(200 << 10)));
    let served = Served::start(&(sources(&[("large", stub.url())]) + "min_interval = \"1ms\"\n"));
    let coding = |path: &str, takes: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: {takes}\r\n\r\n"
        );
        let reply = served.ask(&request);
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
fn a_derived_source_whose_filter_takes_long_does_not_keep_the_others_waiting() {
    let stub = Stub::json(r#"{"n":1e12}"#);
    let text = sources(&[("x", stub.url())])
        + "min_interval = \"1ms\"\n[derived.slow]\nfrom = [\"x\"]\nextract = 'last(range(.x.n))'\n\
           [derived.quick]\nfrom = [\"x\"]\n";
    let served = Served::start(&text);
    served.until("/resumen", |answer| {
        answer["resultados"]["slow"]["code"] == "extract_timeout"
    });
    // One filter ends after half a second, at every swap; on a busy machine the other one may take a while too.
    let in_time = |_| {
        let answer = served.json("/resumen?fresh=1&timeout=0.4&sources=x,quick");
        let fetched = |name: &str| answer["resultados"][name]["fetched_at"].clone();
        answer["complete"] == true && fetched("x") == fetched("quick")
    };
    assert!((0..20).any(in_time));
}

#[test]
fn what_a_provider_echoes_of_a_secret_is_masked_before_and_after_a_reload() {
    let (html, refusal) = (
        Stub::json("<p>token-0123456789 token-9876543210</p>"),
        Stub::json(r#"{"e":"token-0123456789"}"#),
    );
    let text = |token: &str| {
        let header =
            format!("headers = {{ Authorization = \"Bearer {token}\" }}\nmin_interval = \"1ms\"\n");
        sources(&[("html", html.url())])
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
        config(&text("token-0123456789")),
        config(&text("token-9876543210")),
    );
    let served = Served::of(&old);
    let answer = served.until("/resumen", |answer| {
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
    served.until("/resumen?fresh=1", html);
}
