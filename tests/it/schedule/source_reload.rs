//! Reloads during flights, under paused time: unchanged sources keep their flights, and flights of
//! removed or changed sources are cancelled.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Schedule, Source, SourceKind};
use tokio::time::{Instant, sleep};

use crate::support::scripted_fetch::{
    ScriptedAction, ScriptedFetch, TestCore, test_provider, test_schedule, test_source,
};

const SHORT_DELAY: Duration = Duration::from_millis(100);
const LIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// The same source with another filter.
fn with_other_filter(old: &Source) -> Arc<Source> {
    let SourceKind::Fetched { schedule, .. } = &old.kind else {
        panic!("not fetched")
    };
    let mut new = test_provider(old.providers()[0].name.as_str());
    new.extract = ".x".into();
    let kind = SourceKind::Fetched {
        providers: vec![new],
        schedule: *schedule,
    };
    Arc::new(Source {
        kind,
        ..old.clone()
    })
}

/// `a` from `p`, whose first call times out, and `b` from `q`, which responds.
fn start_core(sources: &[Arc<Source>]) -> TestCore {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |n| {
        if n == 0 {
            ScriptedAction::TimeOut
        } else {
            ScriptedAction::Fail(Code::NotJson, SHORT_DELAY)
        }
    });
    fetch.set_script("q", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    TestCore::start(sources, fetch)
}

fn two_sources() -> [Arc<Source>; 2] {
    [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
    ]
}

#[tokio::test(start_paused = true)]
async fn new_filter_restarts_flight() {
    let [a, b] = two_sources();
    let core = start_core(&[Arc::clone(&a), Arc::clone(&b)]);
    sleep(SHORT_DELAY * 5).await;
    let start = core.fetch.call_times("p")[0];
    let live_request = core.live_results(&["a"], LIVE_TIMEOUT);
    let reload = async {
        sleep(SHORT_DELAY).await;
        core.core
            .replace_sources(&[with_other_filter(&a), b], LIVE_TIMEOUT)
            .unwrap();
    };
    let (response, ()) = tokio::join!(live_request, reload);
    assert_eq!(
        response["resultados"]["a"]["code"], "pending",
        "the old flight has ended for its waiters"
    );
    assert_eq!(core.fetch.cancelled_calls(), ["p"]);
    sleep(Duration::from_secs(1)).await;
    let calls = core.fetch.call_times("p");
    assert_eq!(
        (calls.len(), calls[1] - start),
        (2, test_schedule().min_interval),
        "the next call follows after `min_interval`"
    );
    assert_eq!(
        core.current_results()["resultados"]["a"]["code"],
        "not_json"
    );
}

#[tokio::test(start_paused = true)]
async fn unchanged_source_survives_reload() {
    let [a, b] = two_sources();
    let core = start_core(&[Arc::clone(&a), Arc::clone(&b)]);
    sleep(SHORT_DELAY * 5).await;
    let before = core.current_results()["resultados"]["b"].clone();
    let planned = core.core.cache.snapshot().next_attempt(1);
    for _ in 0..20 {
        core.core
            .replace_sources(&[Arc::clone(&a), Arc::clone(&b)], LIVE_TIMEOUT)
            .unwrap();
        sleep(SHORT_DELAY).await;
    }
    assert_eq!(core.core.cache.snapshot().next_attempt(1), planned);
    assert_eq!(
        core.current_results()["resultados"]["b"]["fetched_at"],
        before["fetched_at"]
    );
    assert_eq!(
        (
            core.fetch.call_times("p").len(),
            core.fetch.call_times("q").len()
        ),
        (1, 1)
    );
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        core.current_results()["resultados"]["a"]["code"],
        "timeout",
        "the result of its flight is published"
    );
    assert!(core.fetch.cancelled_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn removed_source_is_not_called() {
    let [a, b] = two_sources();
    let core = start_core(&[a, Arc::clone(&b)]);
    sleep(SHORT_DELAY * 5).await;
    core.core.replace_sources(&[b], LIVE_TIMEOUT).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(core.fetch.cancelled_calls(), ["p"]);
    assert_eq!(core.fetch.call_times("p").len(), 1);
    assert!(core.current_results()["resultados"].get("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn shorter_interval_counts_from_last_attempt() {
    let slow = Schedule {
        interval: Duration::from_secs(600),
        ..test_schedule()
    };
    let fetch = ScriptedFetch::default();
    fetch.set_script("q", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    let core = TestCore::start(&[test_source("b", &["q"], slow)], fetch);
    sleep(Duration::from_secs(10)).await;
    core.core
        .replace_sources(&[test_source("b", &["q"], test_schedule())], LIVE_TIMEOUT)
        .unwrap();
    sleep(Duration::from_secs(10)).await;
    let calls: Vec<Instant> = core.fetch.call_times("q");
    assert_eq!((calls[1] - calls[0]).as_secs(), 15);
    assert_eq!(calls.len(), 2);
}
