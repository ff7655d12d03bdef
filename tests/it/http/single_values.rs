//! `/valor`, `/insignia` and `format=flat`.

use std::time::Duration;

use resumen::config::{AccessGroup, ServerSettings};
use resumen::domain::{Code, FreshnessPolicy};
use serde_json::{Value, json};

use crate::http::{access_token, publish_readings, server_with_readings, start_server};
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_app::TestApp;
use crate::support::test_server::{TestServer, default_server_settings};

/// Data with a value of every kind.
const DATA: &str = r#"{"price":97123.4500,"big":12345678901234567890,"name":"ñandú \"x\"\n","none":null,"yes":true,"list":[1,[2.50]],"a/b":{"c.d":7},"":{"e":1},"empty":{},"price.x":1,"price":3}"#;

fn server_with_data() -> TestServer {
    let server = server_with_readings();
    server.publish_reading("btc", DATA);
    server
}

#[test]
fn scalars_are_plain_text() {
    let server = server_with_data();
    let mut client = server.connect_client();
    for (path, text) in [
        ("btc/price", "97123.4500\n"),
        ("b%74c/big", "12345678901234567890\n"),
        ("btc/name", "ñandú \"x\"\n\n"),
        ("btc/none", "null\n"),
        ("btc/yes", "true\n"),
        ("btc/list/0", "1\n"),
        ("btc/list/1/0", "2.50\n"),
        ("btc/a%2Fb/c.d", "7\n"),
        ("btc/a%2fb/%63.d", "7\n"),
        ("btc/price.x", "1\n"),
    ] {
        let response = client.get(&format!("/valor/{path}"));
        assert_eq!((response.status, response.text()), (200, text), "{path}");
        let media = response.header("content-type");
        assert_eq!(media, Some("text/plain; charset=utf-8"), "{path}");
        assert_eq!(response.header("vary"), Some("Accept, Accept-Encoding"));
    }
    server.publish_reading("btc", "0.10");
    assert_eq!(client.get("/valor/btc").text(), "0.10\n");
}

/// A body that a coding makes longer is sent without one, unless the client refuses that.
#[test]
fn short_values_are_not_compressed() {
    let server = server_with_data();
    let long = format!("\"{}\"", "x".repeat(1000));
    server.publish_reading("usd", &long);
    let mut client = server.connect_client();
    for (path, accepted, coding) in [
        ("btc/price", "gzip, br", None),
        ("btc/price", "gzip, identity;q=0", Some("gzip")),
        ("usd", "gzip", Some("gzip")),
    ] {
        let accepted = format!("Accept-Encoding: {accepted}");
        let response = client.send_request("GET", &format!("/valor/{path}"), &[&accepted]);
        assert_eq!(response.header("content-encoding"), coding, "{path}");
    }
}

#[test]
fn json_is_sent_when_it_is_named() {
    let server = server_with_data();
    let mut client = server.connect_client();
    let mut get = |path: &str, accept: &str| {
        let header = format!("Accept: {accept}");
        let response = client.send_request("GET", path, &[header.as_str()]);
        let media = response.header("content-type").unwrap().to_owned();
        (media, response.text().to_owned())
    };
    let json = |text: &str| ("application/json".to_owned(), text.to_owned());
    let plain = |text: &str| ("text/plain; charset=utf-8".to_owned(), text.to_owned());
    for accept in [
        "application/json",
        "application/json, text/plain, */*",
        "application/*",
    ] {
        assert_eq!(get("/valor/btc/price", accept), json("97123.4500"));
        assert_eq!(get("/valor/btc/name", accept), json(r#""ñandú \"x\"\n""#));
    }
    for accept in [
        "*/*",
        "text/plain",
        "application/json;q=0.5, */*",
        "image/png",
    ] {
        assert_eq!(get("/valor/btc/price", accept), plain("97123.4500\n"));
        assert_eq!(get("/valor/btc/list", accept), json("[1,[2.50]]"));
        assert_eq!(get("/valor/btc", accept), json(DATA));
    }
}

#[test]
fn unknown_value_is_suggested() {
    let server = server_with_data();
    let mut client = server.connect_client();
    for (path, code, suggestion) in [
        ("bct/price", "unknown_source", json!("btc")),
        ("BTC", "unknown_source", json!("btc")),
        ("btc/pric", "unknown_path", json!("price")),
        ("btc/a/b/c.d", "unknown_path", json!("a%2Fb/c.d")),
        ("btc/list/2", "unknown_path", json!("list/0")),
        ("btc/list/00", "unknown_path", json!("list/0")),
        ("btc/yes/0/1/2/3/4", "unknown_path", Value::Null),
        ("btc/", "unknown_path", Value::Null),
        ("btc//e", "unknown_path", Value::Null),
        ("btc/price/", "unknown_path", Value::Null),
        ("btc/%zz", "unknown_path", Value::Null),
        ("btc/%ff", "unknown_path", Value::Null),
    ] {
        let response = client.get(&format!("/valor/{path}"));
        let body = response.json();
        assert_eq!(
            (response.status, &body["code"]),
            (404, &json!(code)),
            "{path}"
        );
        assert_eq!(body["suggestion"], suggestion, "{path}: {body}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
    assert_eq!(client.get("/valor/").json()["code"], "not_found");
    assert_eq!(client.get("/valor").json()["code"], "not_found");
    let problem = client.get("/valor/btc?sources=btc").json();
    assert_eq!(problem["code"], "unknown_parameter");
}

#[test]
fn value_has_age_and_tag() {
    let server = server_with_data();
    let mut client = server.connect_client();
    let response = client.get("/valor/btc/price");
    assert_eq!(response.header("age"), Some("0"));
    let snapshot = server.core.cache.snapshot();
    let state = snapshot.source_state("btc").unwrap();
    let seconds = state.reading.as_ref().unwrap().fetched_at.as_millis() / 1000;
    let date = httpdate::parse_http_date(response.header("last-modified").unwrap()).unwrap();
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(since_epoch.as_secs(), seconds.unsigned_abs());
    let status = response.header("cache-status").unwrap();
    assert!(status.starts_with("resumen; hit; ttl="), "{status}");
    let etag = response.header("etag").unwrap().to_owned();
    let condition = format!("If-None-Match: {etag}");
    let unchanged = client.send_request("GET", "/valor/btc/price", &[&condition]);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(&*etag));
    // Another value of the source has another tag, and so has every new reading.
    let other = client.send_request("GET", "/valor/btc/big", &[&condition]);
    assert_eq!(other.status, 200);
    server.publish_reading("btc", DATA);
    let newer = client.send_request("GET", "/valor/btc/price", &[&condition]);
    assert_eq!(newer.status, 200);
    let head = client.send_request("HEAD", "/valor/btc/price", &[]);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("11"))
    );
    let options = client.send_request("OPTIONS", "/valor/btc/price", &[]);
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, HEAD, OPTIONS"))
    );
    assert_eq!(client.send_request("POST", "/valor/btc", &[]).status, 405);
}

/// A server with one source whose readings are fresh for so long, then stale for so long.
fn server_with_limits(ttl: Duration, max_stale: Duration) -> TestServer {
    let mut source = test_source("btc", &["provider"], test_schedule());
    std::sync::Arc::get_mut(&mut source)
        .unwrap()
        .freshness_policy = FreshnessPolicy { ttl, max_stale };
    TestServer::start(
        default_server_settings(),
        &[source],
        ScriptedFetch::default(),
    )
}

#[test]
fn stale_value_is_served() {
    let server = server_with_limits(Duration::ZERO, Duration::from_secs(60));
    server.publish_reading("btc", "1");
    std::thread::sleep(Duration::from_millis(30));
    let mut client = server.connect_client();
    let response = client.get("/valor/btc");
    assert_eq!((response.status, response.text()), (200, "1\n"));
    assert_eq!(
        response.header("cache-status"),
        Some("resumen; hit; ttl=-1")
    );
    assert!(client.get("/insignia/btc").text().contains("#9a6700"));
    let flat = client.get("/resumen?format=flat").json();
    assert_eq!(
        (&flat["btc.stale"], &flat["btc"]),
        (&json!(true), &json!(1))
    );
}

#[test]
fn missing_value_is_unavailable() {
    let server = server_with_readings();
    server.publish_failure("usd", Code::Timeout, "late");
    assert_eq!(
        server.connect_client().get("/valor/usd/ARS").text(),
        "1043.50\n"
    );
    let server = start_server(default_server_settings());
    server.publish_failure("btc", Code::HttpStatus, "HTTP 503");
    let mut client = server.connect_client();
    let response = client.get("/valor/btc/usd");
    let body = response.json();
    assert_eq!((response.status, &body["code"]), (503, &json!("missing")));
    assert_eq!(body["detail"], "http_status: HTTP 503");
    let badge = client.get("/insignia/btc/usd");
    assert_eq!(badge.status, 200);
    assert!(badge.text().contains(">missing<") && badge.text().contains("http_status: HTTP 503"));
    assert_eq!(client.get("/valor/clima?timeout=0.01").status, 503);
}

#[test]
fn live_value_is_fetched() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("provider", |_| {
        ScriptedAction::Respond(r#"{"n":[5]}"#, Duration::ZERO)
    });
    let sources = [test_source("btc", &["provider"], test_schedule())];
    let server = TestServer::start(default_server_settings(), &sources, fetch);
    let mut client = server.connect_client();
    let response = client.get("/valor/btc/n/0?fresh=1&timeout=2");
    assert_eq!((response.status, response.text()), (200, "5\n"));
    assert_eq!(
        response.header("cache-status"),
        Some("resumen; fwd=request")
    );
    assert!(
        response
            .header("server-timing")
            .unwrap()
            .starts_with("btc;dur=")
    );
    let flat = client.get("/resumen?fresh=1&format=flat").json();
    assert_eq!(flat["btc.n.0"], 5);
    assert_eq!(client.get("/valor/btc/x?max_age=30").status, 404);
    assert_eq!(
        client.get("/valor/btc?fresh=2").json()["code"],
        "invalid_parameter"
    );
}

#[test]
fn tokens_guard_values() {
    let groups = [
        ("wall", AccessGroup::Data),
        ("live", AccessGroup::Live),
        ("panel", AccessGroup::Panel),
    ];
    let server = start_server(ServerSettings {
        tokens: groups
            .map(|(name, group)| access_token(name, &[group]))
            .to_vec(),
        ..default_server_settings()
    });
    publish_readings(&server);
    let status = |target: &str, token: &str| {
        let header = format!("Authorization: Bearer {token}-0123456789abcdef");
        let mut client = server.connect_client();
        client.send_request("GET", target, &[&header]).status
    };
    for (target, expected) in [
        ("/valor/btc/usd", [401, 200, 403, 403]),
        ("/valor/btc/usd?max_age=60", [401, 403, 200, 403]),
        ("/insignia/btc/usd", [401, 200, 403, 403]),
        ("/resumen?format=flat", [401, 200, 403, 200]),
    ] {
        let got = ["none", "wall", "live", "panel"].map(|token| status(target, token));
        assert_eq!(got, expected, "{target}");
    }
}

#[test]
fn flat_has_state_then_scalars() {
    let server = server_with_data();
    server.publish_failure("usd", Code::Timeout, "late");
    let text = server
        .connect_client()
        .get("/resumen?format=flat&sources=usd,btc");
    let keys: Vec<&str> = text
        .text()
        .split(",\"")
        .map(|member| {
            member
                .trim_start_matches("{\"")
                .split("\":")
                .next()
                .unwrap()
        })
        .collect();
    let expected = [
        "usd.ok",
        "usd.stale",
        "usd.age_ms",
        "usd.code",
        "usd.ARS",
        "usd.EUR",
        "btc.ok",
        "btc.stale",
        "btc.age_ms",
        "btc.price",
        "btc.big",
        "btc.name",
        "btc.none",
        "btc.yes",
        "btc.list.0",
        "btc.list.1.0",
        "btc.a/b.c.d",
        "btc..e",
        "btc.price.x",
    ];
    assert_eq!(keys, expected);
    assert!(
        text.text()
            .contains(r#""usd.code":"timeout","usd.ARS":1043.50,"#)
    );
    assert!(
        text.text().contains(r#""btc.price":97123.4500,"#),
        "the first member wins"
    );
    let unknown = start_server(default_server_settings());
    let flat = unknown
        .connect_client()
        .get("/resumen?format=flat&timeout=0.01")
        .json();
    assert_eq!(flat["btc.ok"], false);
    assert_eq!(flat["btc.code"], "pending");
    assert_eq!(flat.get("btc.stale"), None);
}

#[test]
fn badge_escapes_its_texts() {
    let server = server_with_data();
    server.publish_reading("btc", r#"{"<b>":"<script>alert(1)</script>"}"#);
    let mut client = server.connect_client();
    let badge = client.get("/insignia/btc/%3Cb%3E");
    assert_eq!(
        (badge.status, badge.header("content-type")),
        (200, Some("image/svg+xml"))
    );
    assert!(badge.text().contains("&lt;script&gt;") && !badge.text().contains("<script"));
    assert!(badge.text().contains("btc.&lt;b&gt;"));
    for path in ["none/x", "btc/none", "btc//", "btc/%zz", "%3Cx%3E"] {
        let badge = client.get(&format!("/insignia/{path}"));
        assert_eq!(badge.status, 200, "{path}");
        assert!(
            badge.text().contains(">missing<") && !badge.text().contains("<x>"),
            "{path}"
        );
    }
}

#[test]
fn badge_follows_configuration() {
    let provider = FakeProvider::with_json(r#"{"used": 93.26, "free": 5}"#);
    let app = TestApp::start(&format!(
        "[sources.disk]\nurl = \"{}\"\ntitle = \"Disk\"\nunit = \"GB\"\n[sources.disk.paths]\n\
         used = {{ label = \"Root\", unit = \"%\", decimals = 1, thresholds = {{ warn = 80, crit = 90 }} }}\n\
         free = {{ thresholds = {{ warn = 10, crit = 2 }} }}\n",
        provider.url()
    ));
    app.wait_for_json("/resumen", |answer| answer["complete"] == true);
    for (path, text, colour) in [
        ("used", "Disk Root: 93.3 %", "#cf222e"),
        ("free", "Disk free: 5 GB", "#9a6700"),
    ] {
        let badge = app.get(&format!("/insignia/disk/{path}")).body;
        assert!(
            badge.contains(&format!("aria-label=\"{text}\"")) && badge.contains(colour),
            "{badge}"
        );
    }
}
