//! Many sources of one host: a live response refreshes all of them.

use std::time::Duration;

use serde_json::Value;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};

#[test]
fn live_response_refreshes_twenty_sources_of_one_host() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    provider.set_delay(Duration::from_millis(300));
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let sources: Vec<(&str, String)> = names
        .iter()
        .map(|name| (name.as_str(), format!("{}{name}", provider.url())))
        .collect();
    let app = TestApp::start(&source_tables(&sources));
    let every = |answer: &Value, wanted: fn(&Value) -> bool| {
        answer["resultados"]
            .as_object()
            .unwrap()
            .values()
            .all(wanted)
    };
    app.wait_for_json("/resumen?timeout=1", |answer| {
        every(answer, |source| source["ok"] == true)
    });
    // `min_interval` of the default interval.
    std::thread::sleep(Duration::from_millis(1_600));
    let answer = app.get_json("/resumen?fresh=1&timeout=2");
    assert!(
        every(&answer, |source| source["from"] == "live"),
        "{answer:#}"
    );
}
