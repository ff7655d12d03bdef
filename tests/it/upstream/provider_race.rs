//! A race on real sockets: what each loser had to say.

use std::time::Duration;

use serde_json::Value;

use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::faulty_provider::{FaultPlan, FaultyProvider};
use crate::support::test_app::TestApp;

async fn start_scripted_provider(script: &[&str]) -> FaultyProvider {
    FaultyProvider::start(FaultPlan {
        scripts: vec![FaultScript::parse(script)],
        tls: None,
        is_http2: false,
        prelude: None,
    })
    .await
}

fn race_source_config(hedge: &str, providers: &[(&str, String)]) -> String {
    let head = format!(
        "[store]\npath = \"\"\n[sources.a]\ninterval = \"1h\"\ntimeout = \"600ms\"\nmin_interval = \"1s\"\nhedge_after = \"{hedge}\"\n"
    );
    let each = |(name, url): &(&str, String)| {
        format!("[[sources.a.providers]]\nname = \"{name}\"\nurl = \"{url}\"\n")
    };
    head + &providers.iter().map(each).collect::<String>()
}

/// The providers' part of `/salud/fuentes`: name, status, and code or else output.
fn reported_attempts(served: &TestApp) -> Vec<[String; 3]> {
    let report = served.get_json("/salud/fuentes");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |p: &Value| {
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
        .map(one)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_race_names_each_timeout_phase() {
    let (hole, closed) = (
        FaultyProvider::with_unanswered_syn(),
        FaultyProvider::with_closed_port(),
    );
    let tls = start_scripted_provider(&["greet", "stall"]).await;
    let head = start_scripted_provider(&["stall"]).await;
    let body =
        start_scripted_provider(&["head 200 | Content-Length: 9", "send [1,", "stall"]).await;
    let text = race_source_config(
        "50ms",
        &[
            ("hole", format!("http://{}/", hole.address)),
            ("closed", format!("http://{}/", closed.address)),
            ("tls", format!("https://{}/", tls.address)),
            ("head", format!("http://{}/", head.address)),
            ("body", format!("http://{}/", body.address)),
        ],
    );
    let served = TestApp::start(&text);
    let answer = tokio::task::block_in_place(|| served.get_json("/resumen?fresh=1&timeout=10"));
    let a = &answer["resultados"]["a"];
    assert_eq!(a["code"], "connect_timeout", "the most preferred one's");
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
    let told = tokio::task::block_in_place(|| reported_attempts(&served));
    assert_eq!(
        told.iter().map(|one| one[2].as_str()).collect::<Vec<_>>(),
        codes
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn won_race_reports_and_closes_losers() {
    let failing = start_scripted_provider(&["head 503 | Content-Length: 0"]).await;
    let slow = start_scripted_provider(&["stall"]).await;
    let good = start_scripted_provider(&["json [1]", "again"]).await;
    let url = |server: &FaultyProvider| format!("http://{}/", server.address);
    let served = TestApp::start(&race_source_config(
        "50ms",
        &[
            ("failing", url(&failing)),
            ("slow", url(&slow)),
            ("good", url(&good)),
        ],
    ));
    let told = tokio::task::block_in_place(|| {
        served.wait_for_json("/resumen", |answer| {
            answer["resultados"]["a"]["provider"] == "good"
        });
        reported_attempts(&served)
    });
    let expected = [
        ["failing", "fail", "http_status"],
        [
            "slow",
            "warn",
            "given up without an answer: another provider was faster",
        ],
        ["good", "pass", ""],
    ];
    assert_eq!(told, expected.map(|one| one.map(str::to_owned)));
    let metrics =
        tokio::task::block_in_place(|| String::from_utf8(served.get("/metrics").body).unwrap());
    // Successes are counted from zero on; what has happened is more than that.
    let fetches = metrics
        .lines()
        .filter(|line| line.starts_with("resumen_source_fetches_total{"));
    let counted: Vec<&str> = fetches.filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(
        counted.len(),
        2,
        "an outrun request is no result: {counted:?}"
    );
    for _ in 0..500 {
        if slow.counters.open_connection_count() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the loser's connection is still open");
}
