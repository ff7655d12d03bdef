//! A reload while flights are in the air, under paused time: what stays the same does not notice, what nobody will want
//! any more ends.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Schedule, Source, SourceKind};
use tokio::time::{Instant, sleep};

use crate::support::scripted_fetch::{
    ScriptedAction, ScriptedFetch, TestCore, test_provider, test_schedule, test_source,
};

const SHORT_DELAY: Duration = Duration::from_millis(100);
const LIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// The source under another filter.
fn with_other_filter(old: &Source) -> Arc<Source> {
    let SourceKind::Fetched { schedule: pace, .. } = &old.kind else {
        panic!("not fetched")
    };
    let mut new = test_provider(old.providers()[0].name.as_str());
    new.extract = ".x".into();
    let kind = SourceKind::Fetched {
        providers: vec![new],
        schedule: *pace,
    };
    Arc::new(Source {
        kind,
        ..old.clone()
    })
}

/// `a` by `p`, whose first answer never comes, and `b` by `q`, which answers.
fn start_core(sources: &[Arc<Source>]) -> TestCore {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |n| {
        if n == 0 {
            ScriptedAction::TimeOut
        } else {
            ScriptedAction::Fail(Code::NotJson, SHORT_DELAY)
        }
    });
    providers.set_script("q", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    TestCore::start(sources, providers)
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
    let rig = start_core(&[Arc::clone(&a), Arc::clone(&b)]);
    sleep(SHORT_DELAY * 5).await;
    let begun = rig.providers.call_times("p")[0];
    let waiter = rig.live_results(&["a"], LIVE_TIMEOUT);
    let reload = async {
        sleep(SHORT_DELAY).await;
        rig.core
            .replace_sources(&[with_other_filter(&a), b], LIVE_TIMEOUT)
            .unwrap();
    };
    let (answer, ()) = tokio::join!(waiter, reload);
    assert_eq!(
        answer["resultados"]["a"]["code"], "pending",
        "whoever waited for the old one need not any more"
    );
    assert_eq!(rig.providers.cancelled_calls(), ["p"]);
    sleep(Duration::from_secs(1)).await;
    let calls = rig.providers.call_times("p");
    assert_eq!(
        (calls.len(), calls[1] - begun),
        (2, test_schedule().min_interval),
        "as soon as it may"
    );
    assert_eq!(rig.current_results()["resultados"]["a"]["code"], "not_json");
}

#[tokio::test(start_paused = true)]
async fn unchanged_source_survives_reload() {
    let [a, b] = two_sources();
    let rig = start_core(&[Arc::clone(&a), Arc::clone(&b)]);
    sleep(SHORT_DELAY * 5).await;
    let before = rig.current_results()["resultados"]["b"].clone();
    let planned = rig.core.cache.snapshot().next_attempt(1);
    for _ in 0..20 {
        rig.core
            .replace_sources(&[Arc::clone(&a), Arc::clone(&b)], LIVE_TIMEOUT)
            .unwrap();
        sleep(SHORT_DELAY).await;
    }
    assert_eq!(rig.core.cache.snapshot().next_attempt(1), planned);
    assert_eq!(
        rig.current_results()["resultados"]["b"]["fetched_at"],
        before["fetched_at"]
    );
    assert_eq!(
        (
            rig.providers.call_times("p").len(),
            rig.providers.call_times("q").len()
        ),
        (1, 1)
    );
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        rig.current_results()["resultados"]["a"]["code"],
        "timeout",
        "its flight landed"
    );
    assert!(rig.providers.cancelled_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn removed_source_is_not_called() {
    let [a, b] = two_sources();
    let rig = start_core(&[a, Arc::clone(&b)]);
    sleep(SHORT_DELAY * 5).await;
    rig.core.replace_sources(&[b], LIVE_TIMEOUT).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.providers.cancelled_calls(), ["p"]);
    assert_eq!(rig.providers.call_times("p").len(), 1);
    assert!(rig.current_results()["resultados"].get("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn shorter_interval_counts_from_last_attempt() {
    let slow = Schedule {
        interval: Duration::from_secs(600),
        ..test_schedule()
    };
    let providers = ScriptedFetch::default();
    providers.set_script("q", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    let rig = TestCore::start(&[test_source("b", &["q"], slow)], providers);
    sleep(Duration::from_secs(10)).await;
    rig.core
        .replace_sources(&[test_source("b", &["q"], test_schedule())], LIVE_TIMEOUT)
        .unwrap();
    sleep(Duration::from_secs(10)).await;
    let calls: Vec<Instant> = rig.providers.call_times("q");
    assert_eq!((calls[1] - calls[0]).as_secs(), 15);
    assert_eq!(calls.len(), 2);
}
