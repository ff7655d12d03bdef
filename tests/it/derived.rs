//! Derived sources, under paused time. Filters are `.` here: others run on threads of their own, which a paused clock does
//! not wait for.

use std::time::Duration;

use resumen::domain::{Code, Time};
use serde_json::json;
use tokio::time::sleep;

use crate::support::scripted::{Act, Rig, Scripted, derived, pace, source};

const MOMENT: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(4);

/// When the source at this place was last asked or computed.
fn last(rig: &Rig, position: usize) -> Option<Time> {
    rig.engine.cache.snapshot().entries()[position].trail.last
}

#[tokio::test(start_paused = true)]
async fn a_derived_source_is_an_input_of_another_whatever_their_order() {
    let providers = Scripted::default();
    providers.script("p", |_| Act::Answer("1", MOMENT));
    let sources = [
        source("a", &["p"], pace()),
        derived("outer", &["inner"], "."),
        derived("inner", &["a"], "."),
    ];
    let rig = Rig::idle(&sources, providers);
    let answer = rig.live(&["outer"], LIMIT).await;
    assert_eq!(
        answer["resultados"]["outer"]["data"],
        json!({"inner": {"a": 1}})
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_input_is_named_through_every_step() {
    let providers = Scripted::default();
    providers.script("p", |_| Act::Fail(Code::NotJson, MOMENT));
    let sources = [
        source("a", &["p"], pace()),
        derived("inner", &["a"], "."),
        derived("outer", &["inner"], "."),
    ];
    let rig = Rig::idle(&sources, providers);
    let answer = rig.live(&["inner", "outer"], LIMIT).await;
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
async fn a_derived_source_is_computed_only_at_swaps_that_touch_an_input() {
    let providers = Scripted::default();
    providers.script("p", |_| Act::Answer("1", MOMENT));
    providers.script("q", |_| Act::Answer("2", MOMENT));
    let sources = [
        source("a", &["p"], pace()),
        source("b", &["q"], pace()),
        derived("of_a", &["a"], "."),
    ];
    let rig = Rig::idle(&sources, providers);
    rig.live(&["a", "b", "of_a"], LIMIT).await;
    let (of_b, computed) = (last(&rig, 1), last(&rig, 2));
    assert!(computed.is_some());
    sleep(LIMIT).await;
    rig.live(&["b"], LIMIT).await;
    sleep(MOMENT).await;
    assert_ne!(last(&rig, 1), of_b);
    assert_eq!(last(&rig, 2), computed, "another source's reading");
    rig.live(&["a"], LIMIT).await;
    sleep(MOMENT).await;
    assert!(last(&rig, 2) > computed, "its input's reading");
}
