//! Derived sources under paused time.
//!
//! The filter of every source is `.`: other filters run in worker processes, which a paused clock does
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

/// The time of the last attempt or computation of the source at `position`.
fn last_computed_at(core: &TestCore, position: usize) -> Option<Time> {
    core.core.cache.snapshot().source_states()[position]
        .history
        .last_attempt
}

#[tokio::test(start_paused = true)]
async fn derived_sources_chain_in_any_order() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_derived_source("outer", &["inner"], "."),
        test_derived_source("inner", &["a"], "."),
    ];
    let core = TestCore::idle(&sources, fetch);
    let response = core.live_results(&["outer"], LIVE_TIMEOUT).await;
    assert_eq!(
        response["resultados"]["outer"]["data"],
        json!({"inner": {"a": 1}})
    );
}

#[tokio::test(start_paused = true)]
async fn missing_input_is_named_transitively() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |_| ScriptedAction::Fail(Code::NotJson, SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_derived_source("inner", &["a"], "."),
        test_derived_source("outer", &["inner"], "."),
    ];
    let core = TestCore::idle(&sources, fetch);
    let response = core.live_results(&["inner", "outer"], LIVE_TIMEOUT).await;
    for name in ["inner", "outer"] {
        let value = &response["resultados"][name];
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
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    fetch.set_script("q", |_| ScriptedAction::Respond("2", SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
        test_derived_source("of_a", &["a"], "."),
    ];
    let core = TestCore::idle(&sources, fetch);
    core.live_results(&["a", "b", "of_a"], LIVE_TIMEOUT).await;
    let (of_b, computed) = (last_computed_at(&core, 1), last_computed_at(&core, 2));
    assert!(computed.is_some());
    sleep(LIVE_TIMEOUT).await;
    core.live_results(&["b"], LIVE_TIMEOUT).await;
    sleep(SHORT_DELAY).await;
    assert_ne!(last_computed_at(&core, 1), of_b);
    assert_eq!(
        last_computed_at(&core, 2),
        computed,
        "the reading of another source changed"
    );
    core.live_results(&["a"], LIVE_TIMEOUT).await;
    sleep(SHORT_DELAY).await;
    assert!(
        last_computed_at(&core, 2) > computed,
        "the reading of its input changed"
    );
}

#[tokio::test(start_paused = true)]
async fn derived_source_names_failing_input() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |n| {
        if n < 2 {
            ScriptedAction::Respond("{\"usd\":3}", SHORT_DELAY)
        } else {
            ScriptedAction::Fail(Code::NotJson, SHORT_DELAY)
        }
    });
    fetch.set_script("q", |_| {
        ScriptedAction::Respond("{\"ars\":100}", SHORT_DELAY)
    });
    let sources = [
        test_source("btc", &["p"], test_schedule()),
        test_source("usd", &["q"], test_schedule()),
        test_derived_source("btc_ars", &["btc", "usd"], "."),
    ];
    let core = TestCore::idle(&sources, fetch);
    let response = core.live_results(&["btc_ars"], LIVE_TIMEOUT).await;
    let value = &response["resultados"]["btc_ars"];
    assert_eq!(
        (&value["data"], &value["from"]),
        (
            &json!({"btc": {"usd": 3}, "usd": {"ars": 100}}),
            &json!("live")
        )
    );
    assert_eq!(value["ok"], true);
    sleep(Duration::from_secs(2)).await;
    core.live_results(&["btc_ars"], LIVE_TIMEOUT).await;
    sleep(Duration::from_secs(2)).await;
    let failing = core.live_results(&["btc_ars"], LIVE_TIMEOUT).await;
    let value = &failing["resultados"]["btc_ars"];
    assert_eq!(
        (&value["ok"], &value["code"]),
        (&json!(true), &json!("not_json"))
    );
    assert_eq!(value["error"], "input `btc`: scripted");
    assert!(value["failing_since"].is_string());
    assert_eq!(failing["complete"], false);
}

#[tokio::test(start_paused = true)]
async fn derived_age_is_oldest_input() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |n| {
        if n == 0 {
            ScriptedAction::Respond("1", SHORT_DELAY)
        } else {
            ScriptedAction::Fail(Code::Timeout, SHORT_DELAY)
        }
    });
    fetch.set_script("q", |_| ScriptedAction::Respond("2", SHORT_DELAY));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
        test_derived_source("both", &["a", "b"], "."),
    ];
    let core = TestCore::start(&sources, fetch);
    sleep(Duration::from_secs(60)).await;
    let response = core.current_results();
    let result = |name: &str| response["resultados"][name].clone();
    assert_eq!(
        (result("a")["stale"].clone(), result("b")["stale"].clone()),
        (json!(true), json!(false))
    );
    assert_eq!(result("both")["stale"], true);
    assert_eq!(result("both")["fetched_at"], result("a")["fetched_at"]);
    assert_eq!(result("both")["data"], json!({"a": 1, "b": 2}));
    let order: Vec<String> = response["resultados"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(order, ["a", "b", "both"]);
}

#[tokio::test(start_paused = true)]
async fn unread_derived_source_has_no_provider() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    fetch.set_script("q", |_| {
        ScriptedAction::Respond("2", Duration::from_secs(3))
    });
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
        test_derived_source("both", &["a", "b"], "."),
    ];
    let core = TestCore::idle(&sources, fetch);
    let both =
        core.live_results(&["both"], Duration::from_secs(1)).await["resultados"]["both"].clone();
    assert_eq!(
        (&both["ok"], &both["code"], &both["from"]),
        (&json!(false), &json!("timeout"), &json!("snapshot"))
    );
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        core.live_results(&["both"], LIVE_TIMEOUT).await["resultados"]["both"]["from"],
        "live"
    );
}
