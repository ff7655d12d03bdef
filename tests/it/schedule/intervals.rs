//! Intervals between calls under paused time: schedule, backoff, `Retry-After` and `min_interval`.
//!
//! The filter of every source is `.`: other filters run in worker processes, which a paused clock does
//! not wait for.

use std::time::Duration;

use resumen::domain::{Code, Schedule};
use serde_json::Value;
use tokio::time::{Instant, sleep};

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

/// The intervals between calls, in seconds.
fn call_intervals(calls: &[Instant]) -> Vec<f64> {
    let interval = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64();
    calls.windows(2).map(interval).collect()
}

/// Asserts that the intervals are the expected ones, with the jitter of 10 %.
fn assert_intervals_near(intervals: &[f64], expected: &[f64]) {
    assert!(intervals.len() >= expected.len(), "{intervals:?}");
    for (interval, expected) in intervals.iter().zip(expected) {
        let range = expected * 0.899..=expected * 1.101;
        assert!(
            range.contains(interval),
            "{intervals:?} should be near {expected}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn live_requests_respect_min_interval() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |_| {
        ScriptedAction::Respond("1", Duration::from_millis(3))
    });
    let slow = Schedule {
        min_interval: seconds(5),
        interval: seconds(600),
        ..test_schedule()
    };
    let core = TestCore::start(&[test_source("a", &["p"], slow)], fetch);
    for _ in 0..600 {
        let response = core.live_results(&["a"], seconds(4)).await;
        assert_eq!(response["resultados"]["a"]["ok"], true);
        sleep(SHORT_DELAY).await;
    }
    let calls = core.fetch.call_times("p");
    assert!((11..=13).contains(&calls.len()), "{}", calls.len());
    assert!(
        call_intervals(&calls)
            .iter()
            .all(|interval| *interval >= 5.0)
    );
}

#[tokio::test(start_paused = true)]
async fn failures_shorten_interval() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |n| {
        if n < 5 {
            ScriptedAction::Fail(Code::HttpStatus, SHORT_DELAY)
        } else {
            ScriptedAction::Respond("1", SHORT_DELAY)
        }
    });
    let slow = Schedule {
        interval: seconds(30),
        ..test_schedule()
    };
    let core = TestCore::start(&[test_source("a", &["p"], slow)], fetch);
    sleep(seconds(200)).await;
    assert_intervals_near(
        &call_intervals(&core.fetch.call_times("p")),
        &[5.0, 10.0, 20.0, 30.0, 30.0, 30.0],
    );
}

/// The intervals between the calls of two providers that fail with these codes.
async fn failing_intervals(codes: [Code; 2]) -> Vec<f64> {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", move |_| ScriptedAction::Fail(codes[0], SHORT_DELAY));
    fetch.set_script("q", move |_| ScriptedAction::Fail(codes[1], SHORT_DELAY));
    let slow = Schedule {
        interval: seconds(30),
        ..test_schedule()
    };
    let core = TestCore::start(&[test_source("a", &["p", "q"], slow)], fetch);
    sleep(seconds(100)).await;
    call_intervals(&core.fetch.call_times("p"))
}

#[tokio::test(start_paused = true)]
async fn lasting_failures_keep_interval() {
    let lasting = failing_intervals([Code::RedirectBlocked, Code::AuthFailed]).await;
    assert_intervals_near(&lasting, &[30.0, 30.0]);
    let passing = failing_intervals([Code::RedirectBlocked, Code::Timeout]).await;
    assert_intervals_near(&passing, &[5.0, 10.0, 20.0]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_delays_calls() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", |n| {
        if n == 0 {
            ScriptedAction::RateLimit(seconds(60))
        } else {
            ScriptedAction::Respond("1", SHORT_DELAY)
        }
    });
    let core = TestCore::start(&[test_source("a", &["p"], test_schedule())], fetch);
    for _ in 0..50 {
        sleep(seconds(1)).await;
        let response = core.live_results(&["a"], seconds(4)).await;
        assert_eq!(response["resultados"]["a"]["code"], "rate_limited");
    }
    assert_eq!(core.fetch.call_times("p").len(), 1);
    sleep(seconds(12)).await;
    let calls = core.fetch.call_times("p");
    assert_eq!(calls.len(), 2);
    assert!(
        (60.0..61.0).contains(&call_intervals(&calls)[0]),
        "{:?}",
        call_intervals(&calls)
    );
}

#[tokio::test(start_paused = true)]
async fn rate_limited_provider_is_skipped() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |_| ScriptedAction::RateLimit(seconds(600)));
    fetch.set_script("second", respond_soon("2"));
    let core = TestCore::start(
        &[test_source("a", &["first", "second"], test_schedule())],
        fetch,
    );
    sleep(seconds(100)).await;
    assert_eq!(core.fetch.call_times("first").len(), 1);
    assert!(core.fetch.call_times("second").len() >= 6);
    assert_eq!(
        core.current_results()["resultados"]["a"]["provider"],
        "second"
    );
}

#[tokio::test(start_paused = true)]
async fn slow_source_delays_no_other() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("slow", |_| ScriptedAction::TimeOut);
    fetch.set_script("quick", respond_soon("1"));
    let sources = [
        test_source("a", &["slow"], test_schedule()),
        test_source("b", &["quick"], test_schedule()),
    ];
    let core = TestCore::start(&sources, fetch);
    sleep(seconds(120)).await;
    assert_intervals_near(&call_intervals(&core.fetch.call_times("quick")), &[15.0; 6]);
    assert_eq!(core.current_results()["resultados"]["a"]["code"], "timeout");
    assert_eq!(core.current_results()["resultados"]["b"]["ok"], true);
}

#[tokio::test(start_paused = true)]
async fn live_flight_resets_the_schedule() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("p", respond_soon("1"));
    let core = TestCore::start(&[test_source("a", &["p"], test_schedule())], fetch);
    sleep(seconds(10)).await;
    core.live_results(&["a"], seconds(4)).await;
    sleep(seconds(20)).await;
    let calls = call_intervals(&core.fetch.call_times("p"));
    assert!((9.9..10.1).contains(&calls[0]), "{calls:?}");
    assert_intervals_near(&calls[1..], &[15.0]);
}

#[tokio::test(start_paused = true)]
async fn min_interval_applies_to_each_provider() {
    let fetch = ScriptedFetch::default();
    // The second provider is called late in every other flight, and would be called early in the
    // next.
    let late = |n| Duration::from_millis(if n % 2 == 0 { 900 } else { 1 });
    fetch.set_script("first", move |n| {
        ScriptedAction::Fail(Code::HttpStatus, late(n))
    });
    fetch.set_script("second", |_| {
        ScriptedAction::Respond("2", Duration::from_millis(1))
    });
    let core = TestCore::idle(
        &[test_source("a", &["first", "second"], test_schedule())],
        fetch,
    );
    for _ in 0..600 {
        assert_eq!(
            core.live_results(&["a"], seconds(4)).await["resultados"]["a"]["ok"],
            true
        );
        sleep(Duration::from_millis(50)).await;
    }
    for provider in ["first", "second"] {
        let calls = core.fetch.call_times(provider);
        assert!(calls.len() > 15, "{provider}: {}", calls.len());
        assert!(
            call_intervals(&calls)
                .iter()
                .all(|interval| *interval >= 1.0),
            "{provider}: {:?}",
            call_intervals(&calls)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn cooling_provider_is_skipped() {
    let fetch = ScriptedFetch::default();
    fetch.set_script("first", |n| {
        ScriptedAction::Fail(
            Code::HttpStatus,
            Duration::from_millis(if n == 0 { 900 } else { 1 }),
        )
    });
    fetch.set_script("second", |_| {
        ScriptedAction::Respond("2", Duration::from_millis(1))
    });
    fetch.set_script("third", |_| {
        ScriptedAction::Respond("3", Duration::from_millis(1))
    });
    let core = TestCore::idle(
        &[test_source(
            "a",
            &["first", "second", "third"],
            test_schedule(),
        )],
        fetch,
    );
    let mut values = Vec::new();
    for pause in [SHORT_DELAY, seconds(1), SHORT_DELAY] {
        values.push(core.live_results(&["a"], seconds(4)).await["resultados"]["a"]["data"].clone());
        sleep(pause).await;
    }
    assert_eq!(values, [2, 3, 2].map(Value::from));
}
