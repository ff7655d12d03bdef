//! Single flight under paused time: live requests that share an attempt, and the race of providers.
//!
//! The filter of every source is `.`: other filters run in worker processes, which a paused clock does
//! not wait for.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, ProviderAttemptResult, Schedule};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use crate::support::scripted_fetch::{
    ScriptedAction, ScriptedFetch, TestCore, test_schedule, test_source,
};

const SHORT_DELAY: Duration = Duration::from_millis(100);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn respond_soon(json: &'static str) -> impl Fn(usize) -> ScriptedAction + Send + Sync + 'static {
    move |_| ScriptedAction::Respond(json, SHORT_DELAY)
}

#[tokio::test(start_paused = true)]
async fn live_requests_share_flight() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", respond_soon("1"));
    let core = Arc::new(TestCore::idle(
        &[test_source("a", &["p"], test_schedule())],
        fetch,
    ));
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let core = Arc::clone(&core);
        requests.spawn(async move { core.live_results(&["a"], seconds(4)).await });
    }
    for response in requests.join_all().await {
        assert_eq!(response["resultados"]["a"]["from"], "live");
        assert_eq!(response["resultados"]["a"]["data"], 1);
    }
    assert_eq!(core.fetch.call_times("p").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn held_back_request_uses_snapshot() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", respond_soon("1"));
    let core = TestCore::idle(&[test_source("a", &["p"], test_schedule())], fetch);
    core.live_results(&["a"], seconds(4)).await;
    let second = core.live_results(&["a"], seconds(4)).await;
    assert_eq!(second["resultados"]["a"]["from"], "snapshot");
    assert_eq!(second["resultados"]["a"]["ok"], true);
    assert_eq!(core.fetch.call_times("p").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn live_response_lists_late_sources() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("slow", |n| {
        ScriptedAction::Respond("1", if n == 0 { SHORT_DELAY } else { seconds(3) })
    });
    fetch.set_script("quick", respond_soon("2"));
    let sources = [
        test_source("a", &["slow"], test_schedule()),
        test_source("b", &["quick"], test_schedule()),
    ];
    let core = TestCore::idle(&sources, fetch);
    core.live_results(&["a"], seconds(4)).await;
    advance(seconds(2)).await;
    let clock = core.core.clock;
    let start = clock.instant();
    let response = core.live_results(&["b", "a"], seconds(1)).await;
    assert!(clock.instant() - start <= Duration::from_millis(1025));
    let keys: Vec<&String> = response["resultados"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["b", "a"]);
    let (late, quick) = (&response["resultados"]["a"], &response["resultados"]["b"]);
    assert_eq!(late["code"], "timeout");
    assert_eq!(
        late["error"],
        "no answer within this request's 1 s; the attempt goes on"
    );
    assert_eq!(
        (&late["ok"], &late["from"], &late["data"]),
        (&json!(true), &json!("snapshot"), &json!(1))
    );
    assert_eq!(late.get("failing_since"), None);
    assert_eq!((&quick["from"], quick.get("code")), (&json!("live"), None));
    sleep(seconds(3)).await;
    assert_eq!(
        core.current_results()["resultados"]["a"].get("code"),
        None,
        "the flight continued and was published"
    );
    assert!(
        core.current_results()["resultados"]["a"]["age_ms"]
            .as_i64()
            .unwrap()
            < 4100
    );
}

#[tokio::test(start_paused = true)]
async fn failure_starts_next_provider() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |_| {
        ScriptedAction::Fail(Code::HttpStatus, SHORT_DELAY)
    });
    fetch.set_script("second", respond_soon("2"));
    let core = TestCore::idle(
        &[test_source("a", &["first", "second"], test_schedule())],
        fetch,
    );
    let response = core.live_results(&["a"], seconds(4)).await;
    assert_eq!(response["resultados"]["a"]["provider"], "second");
    let ms = response["resultados"]["a"]["ms"].as_f64().unwrap();
    assert!((200.0..210.0).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn hedge_cancels_the_loser() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |_| ScriptedAction::TimeOut);
    fetch.set_script("second", respond_soon("2"));
    let hedged = Schedule {
        hedge_after: Some(Duration::from_millis(800)),
        ..test_schedule()
    };
    let core = TestCore::idle(&[test_source("a", &["first", "second"], hedged)], fetch);
    let response = core.live_results(&["a"], seconds(4)).await;
    assert_eq!(response["resultados"]["a"]["provider"], "second");
    let ms = response["resultados"]["a"]["ms"].as_f64().unwrap();
    assert!((900.0..910.0).contains(&ms), "{ms}");
    assert_eq!(core.fetch.cancelled_calls(), ["first"]);
    let attempts = core.core.cache.snapshot().source_states()[0]
        .history
        .provider_attempts
        .clone();
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| attempt.result.clone())
            .collect::<Vec<_>>(),
        [
            ProviderAttemptResult::Superseded,
            ProviderAttemptResult::Succeeded
        ]
    );
    assert_eq!(attempts[0].duration, Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn failed_flight_names_every_provider() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |_| {
        ScriptedAction::Fail(Code::HttpStatus, SHORT_DELAY)
    });
    fetch.set_script("second", |_| ScriptedAction::TimeOut);
    let core = TestCore::idle(
        &[test_source("a", &["first", "second"], test_schedule())],
        fetch,
    );
    let response = core.live_results(&["a"], seconds(5)).await;
    let a = &response["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["code"]),
        (&json!(false), &json!("http_status"))
    );
    assert_eq!(a["error"], "first: scripted; second: scripted");
    let attempts = core.core.cache.snapshot().source_states()[0]
        .history
        .provider_attempts
        .clone();
    assert_eq!(attempts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn panic_fails_its_flight_only() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("bad", |_| ScriptedAction::Panic);
    fetch.set_script("good", respond_soon("2"));
    let core = TestCore::start(
        &[
            test_source("a", &["bad"], test_schedule()),
            test_source("b", &["good"], test_schedule()),
        ],
        fetch,
    );
    sleep(seconds(20)).await;
    let response = core.current_results();
    assert_eq!(response["resultados"]["a"]["code"], "panic");
    assert_eq!(response["resultados"]["b"]["ok"], true);
    assert!(
        core.fetch.call_times("bad").len() >= 3,
        "the next attempts follow the schedule"
    );
}

#[tokio::test(start_paused = true)]
async fn race_panic_names_provider() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |_| ScriptedAction::Respond("1", SHORT_DELAY * 5));
    fetch.set_script("second", |_| ScriptedAction::Panic);
    let hedged = Schedule {
        hedge_after: Some(SHORT_DELAY),
        ..test_schedule()
    };
    let core = TestCore::idle(&[test_source("a", &["first", "second"], hedged)], fetch);
    let response = core.live_results(&["a"], seconds(4)).await;
    assert_eq!(response["resultados"]["a"]["provider"], "first");
    let attempts = core.core.cache.snapshot().source_states()[0]
        .history
        .provider_attempts
        .clone();
    let codes: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.failure().map(|failure| failure.code))
        .collect();
    assert_eq!(codes, [None, Some(Code::Panic)]);
}
