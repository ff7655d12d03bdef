//! Derived sources, under paused time. Filters are `.` here: others run on threads of their own, which a paused clock does
//! not wait for.

use std::time::Duration;

use resumen::domain::{Code, Time};
use serde_json::json;
use tokio::time::sleep;

use crate::support::scripted_fetch::{
    ScriptedAction, ScriptedFetch, TestCore, test_derived_source, test_schedule, test_source,
};

const SHORT_DELAY: Duration = Duration::from_millis(100);
const LIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// When the source at this place was last asked or computed.
fn last_computed_at(rig: &TestCore, position: usize) -> Option<Time> {
    rig.core.cache.snapshot().source_states()[position]
        .history
        .last_attempt
}

#[tokio::test(start_paused = true)]
async fn derived_sources_chain_in_any_order() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_derived_source("outer", &["inner"], "."),
        test_derived_source("inner", &["a"], "."),
    ];
    let rig = TestCore::idle(&sources, providers);
    let answer = rig.live_results(&["outer"], LIVE_TIMEOUT).await;
    assert_eq!(
        answer["resultados"]["outer"]["data"],
        json!({"inner": {"a": 1}})
    );
}

#[tokio::test(start_paused = true)]
async fn missing_input_is_named_transitively() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |_| ScriptedAction::Fail(Code::NotJson, SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_derived_source("inner", &["a"], "."),
        test_derived_source("outer", &["inner"], "."),
    ];
    let rig = TestCore::idle(&sources, providers);
    let answer = rig.live_results(&["inner", "outer"], LIVE_TIMEOUT).await;
    for name in ["inner", "outer"] {
        let value = &answer["resultados"][name];
        assert_eq!(
            (&value["ok"], &value["code"]),
            (&json!(false), &json!("not_json")),
            "{value}"
        );
        assert!(
            value["data"].is_null() && value["failing_since"].is_string(),
            "{value}"
        );
        let error = value["error"].as_str().unwrap();
        assert!(error.contains("input `a`: scripted"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn derived_source_recomputes_on_input_change() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    providers.set_script("q", |_| ScriptedAction::Respond("2", SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
        test_derived_source("of_a", &["a"], "."),
    ];
    let rig = TestCore::idle(&sources, providers);
    rig.live_results(&["a", "b", "of_a"], LIVE_TIMEOUT).await;
    let (of_b, computed) = (last_computed_at(&rig, 1), last_computed_at(&rig, 2));
    assert!(computed.is_some());
    sleep(LIVE_TIMEOUT).await;
    rig.live_results(&["b"], LIVE_TIMEOUT).await;
    sleep(SHORT_DELAY).await;
    assert_ne!(last_computed_at(&rig, 1), of_b);
    assert_eq!(
        last_computed_at(&rig, 2),
        computed,
        "another source's reading"
    );
    rig.live_results(&["a"], LIVE_TIMEOUT).await;
    sleep(SHORT_DELAY).await;
    assert!(last_computed_at(&rig, 2) > computed, "its input's reading");
}
