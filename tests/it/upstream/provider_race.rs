//! A race of providers on real sockets: the reported attempts of the losers.

use serde_json::Value;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::TestApp;
use crate::support::wait::wait_until;

fn race_source_config(hedge: &str, providers: &[(&str, String)]) -> String {
    let head = format!(
        "[store]\npath = \"\"\n[sources.a]\ninterval = \"1h\"\ntimeout = \"600ms\"\nmin_interval = \"1s\"\nhedge_after = \"{hedge}\"\n"
    );
    let table = |(name, url): &(&str, String)| {
        format!("[[sources.a.providers]]\nname = \"{name}\"\nurl = \"{url}\"\n")
    };
    head + &providers.iter().map(table).collect::<String>()
}

/// The providers in `/salud/fuentes`: name, status, and code or output.
fn reported_attempts(app: &TestApp) -> Vec<[String; 3]> {
    let report = app.get_json("/salud/fuentes");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attempt = |p: &Value| {
        [
            text(&p["provider"]),
            text(&p["status"]),
            text(p.get("code").unwrap_or(&p["output"])),
        ]
    };
    report["checks"]["a"][0]["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(attempt)
        .collect()
}

#[test]
fn failed_race_names_each_timeout_phase() {
    let (hole, closed) = (
        FakeProvider::with_unanswered_syn(),
        FakeProvider::with_closed_port(),
    );
    let tls = FakeProvider::with_script(&["greet", "stall"]);
    let head = FakeProvider::with_script(&["stall"]);
    let body = FakeProvider::with_script(&["head 200 | Content-Length: 9", "send [1,", "stall"]);
    let text = race_source_config(
        "50ms",
        &[
            ("hole", hole.url()),
            ("closed", closed.url()),
            ("tls", format!("https://{}/", tls.address)),
            ("head", head.url()),
            ("body", body.url()),
        ],
    );
    let app = TestApp::start(&text);
    let response = app.get_json("/resumen?fresh=1&timeout=10");
    let a = &response["resultados"]["a"];
    assert_eq!(
        a["code"], "connect_timeout",
        "the code of the preferred provider"
    );
    let error = a["error"].as_str().unwrap();
    for part in [
        "hole: no answer within 600 ms (connecting); ",
        "closed: 127.0.0.1:",
        " refused the connection; ",
        "tls: no answer within 600 ms (in the TLS handshake); ",
        "head: no answer within 600 ms (waiting for headers); ",
        "body: no answer within 600 ms (reading the body, 3 bytes so far)",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let codes = [
        "connect_timeout",
        "connect_refused",
        "connect_timeout",
        "timeout",
        "timeout",
    ];
    let reported = reported_attempts(&app);
    assert_eq!(
        reported
            .iter()
            .map(|attempt| attempt[2].as_str())
            .collect::<Vec<_>>(),
        codes
    );
}

#[test]
fn won_race_reports_and_closes_losers() {
    let failing = FakeProvider::with_script(&["head 503 | Content-Length: 0"]);
    let slow = FakeProvider::with_script(&["stall"]);
    let good = FakeProvider::with_script(&["json [1]", "again"]);
    let app = TestApp::start(&race_source_config(
        "50ms",
        &[
            ("failing", failing.url()),
            ("slow", slow.url()),
            ("good", good.url()),
        ],
    ));
    app.wait_for_json("/resumen", |response| {
        response["resultados"]["a"]["provider"] == "good"
    });
    let reported = reported_attempts(&app);
    let expected = [
        ["failing", "fail", "http_status"],
        [
            "slow",
            "warn",
            "cancelled without an answer: another provider was faster",
        ],
        ["good", "pass", ""],
    ];
    assert_eq!(reported, expected.map(|attempt| attempt.map(str::to_owned)));
    let metrics = app.get("/metrics").body;
    // The series of successes exist from the start, with the value 0.
    let fetches = metrics
        .lines()
        .filter(|line| line.starts_with("resumen_source_fetches_total{"));
    let counted: Vec<&str> = fetches.filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(
        counted.len(),
        2,
        "a superseded attempt is not counted: {counted:?}"
    );
    wait_until("the loser's connection is closed", || {
        slow.open_connection_count() == 0
    });
}
