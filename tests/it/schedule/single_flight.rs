//! Flights, the schedule and live rounds, under paused time. Filters are `.` here: others run on threads of their own,
//! which a paused clock does not wait for.

use std::time::Duration;

use resumen::domain::{Code, ProviderAttemptResult, Schedule};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};

use crate::support::scripted_fetch::{
    ScriptedAction, ScriptedFetch, TestCore, test_derived_source, test_schedule, test_source,
};

const MOMENT: Duration = Duration::from_millis(100);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn respond_immediately(
    json: &'static str,
) -> impl Fn(usize) -> ScriptedAction + Send + Sync + 'static {
    move |_| ScriptedAction::Respond(json, MOMENT)
}

/// The pauses between calls, in seconds.
fn call_intervals(calls: &[Instant]) -> Vec<f64> {
    calls
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect()
}

fn assert_intervals_near(pauses: &[f64], nominal: &[f64]) {
    assert!(pauses.len() >= nominal.len(), "{pauses:?}");
    for (pause, nominal) in pauses.iter().zip(nominal) {
        assert!(
            (nominal * 0.899..=nominal * 1.101).contains(pause),
            "{pauses:?} should be near {nominal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn live_requests_share_flight() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", respond_immediately("1"));
    let rig = std::sync::Arc::new(TestCore::idle(
        &[test_source("a", &["p"], test_schedule())],
        providers,
    ));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let rig = std::sync::Arc::clone(&rig);
        requests.spawn(async move { rig.live_results(&["a"], seconds(4)).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer["resultados"]["a"]["from"], "live");
        assert_eq!(answer["resultados"]["a"]["data"], 1);
    }
    assert_eq!(rig.providers.call_times("p").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn live_requests_respect_min_interval() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |_| {
        ScriptedAction::Respond("1", Duration::from_millis(3))
    });
    let slow = Schedule {
        min_interval: seconds(5),
        interval: seconds(600),
        ..test_schedule()
    };
    let rig = TestCore::start(&[test_source("a", &["p"], slow)], providers);
    for _ in 0..600 {
        let answer = rig.live_results(&["a"], seconds(4)).await;
        assert_eq!(answer["resultados"]["a"]["ok"], true);
        sleep(MOMENT).await;
    }
    let calls = rig.providers.call_times("p");
    assert!((11..=13).contains(&calls.len()), "{}", calls.len());
    assert!(call_intervals(&calls).iter().all(|pause| *pause >= 5.0));
}

#[tokio::test(start_paused = true)]
async fn held_back_request_uses_snapshot() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", respond_immediately("1"));
    let rig = TestCore::idle(&[test_source("a", &["p"], test_schedule())], providers);
    rig.live_results(&["a"], seconds(4)).await;
    let second = rig.live_results(&["a"], seconds(4)).await;
    assert_eq!(second["resultados"]["a"]["from"], "snapshot");
    assert_eq!(second["resultados"]["a"]["ok"], true);
    assert_eq!(rig.providers.call_times("p").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_shorten_interval() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |n| {
        if n < 5 {
            ScriptedAction::Fail(Code::HttpStatus, MOMENT)
        } else {
            ScriptedAction::Respond("1", MOMENT)
        }
    });
    let slow = Schedule {
        interval: seconds(30),
        ..test_schedule()
    };
    let rig = TestCore::start(&[test_source("a", &["p"], slow)], providers);
    sleep(seconds(200)).await;
    assert_intervals_near(
        &call_intervals(&rig.providers.call_times("p")),
        &[5.0, 10.0, 20.0, 30.0, 30.0, 30.0],
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_delays_calls() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |n| {
        if n == 0 {
            ScriptedAction::RateLimit(seconds(60))
        } else {
            ScriptedAction::Respond("1", MOMENT)
        }
    });
    let rig = TestCore::start(&[test_source("a", &["p"], test_schedule())], providers);
    for _ in 0..50 {
        sleep(seconds(1)).await;
        let answer = rig.live_results(&["a"], seconds(4)).await;
        assert_eq!(answer["resultados"]["a"]["code"], "rate_limited");
    }
    assert_eq!(rig.providers.call_times("p").len(), 1);
    sleep(seconds(12)).await;
    let calls = rig.providers.call_times("p");
    assert_eq!(calls.len(), 2);
    assert!(
        (60.0..61.0).contains(&call_intervals(&calls)[0]),
        "{:?}",
        call_intervals(&calls)
    );
}

#[tokio::test(start_paused = true)]
async fn rate_limited_provider_is_skipped() {
    let providers = ScriptedFetch::default();
    providers.set_script("first", |_| ScriptedAction::RateLimit(seconds(600)));
    providers.set_script("second", respond_immediately("2"));
    let rig = TestCore::start(
        &[test_source("a", &["first", "second"], test_schedule())],
        providers,
    );
    sleep(seconds(100)).await;
    assert_eq!(rig.providers.call_times("first").len(), 1);
    assert!(rig.providers.call_times("second").len() >= 6);
    assert_eq!(
        rig.current_results()["resultados"]["a"]["provider"],
        "second"
    );
}

#[tokio::test(start_paused = true)]
async fn slow_source_delays_no_other() {
    let providers = ScriptedFetch::default();
    providers.set_script("slow", |_| ScriptedAction::TimeOut);
    providers.set_script("quick", respond_immediately("1"));
    let sources = [
        test_source("a", &["slow"], test_schedule()),
        test_source("b", &["quick"], test_schedule()),
    ];
    let rig = TestCore::start(&sources, providers);
    sleep(seconds(120)).await;
    assert_intervals_near(
        &call_intervals(&rig.providers.call_times("quick")),
        &[15.0; 6],
    );
    assert_eq!(rig.current_results()["resultados"]["a"]["code"], "timeout");
    assert_eq!(rig.current_results()["resultados"]["b"]["ok"], true);
}

#[tokio::test(start_paused = true)]
async fn live_flight_resets_the_schedule() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", respond_immediately("1"));
    let rig = TestCore::start(&[test_source("a", &["p"], test_schedule())], providers);
    sleep(seconds(10)).await;
    rig.live_results(&["a"], seconds(4)).await;
    sleep(seconds(20)).await;
    let calls = call_intervals(&rig.providers.call_times("p"));
    assert!((9.9..10.1).contains(&calls[0]), "{calls:?}");
    assert_intervals_near(&calls[1..], &[15.0]);
}

#[tokio::test(start_paused = true)]
async fn live_response_lists_late_sources() {
    let providers = ScriptedFetch::default();
    providers.set_script("slow", |n| {
        ScriptedAction::Respond("1", if n == 0 { MOMENT } else { seconds(3) })
    });
    providers.set_script("quick", respond_immediately("2"));
    let sources = [
        test_source("a", &["slow"], test_schedule()),
        test_source("b", &["quick"], test_schedule()),
    ];
    let rig = TestCore::idle(&sources, providers);
    rig.live_results(&["a"], seconds(4)).await;
    advance(seconds(2)).await;
    let clock = rig.core.clock;
    let begun = clock.instant();
    let answer = rig.live_results(&["b", "a"], seconds(1)).await;
    assert!(clock.instant() - begun <= Duration::from_millis(1025));
    let keys: Vec<&String> = answer["resultados"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["b", "a"]);
    let (late, quick) = (&answer["resultados"]["a"], &answer["resultados"]["b"]);
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
        rig.current_results()["resultados"]["a"].get("code"),
        None,
        "the flight went on and landed"
    );
    assert!(
        rig.current_results()["resultados"]["a"]["age_ms"]
            .as_i64()
            .unwrap()
            < 4100
    );
}

#[tokio::test(start_paused = true)]
async fn failure_starts_next_provider() {
    let providers = ScriptedFetch::default();
    providers.set_script("first", |_| ScriptedAction::Fail(Code::HttpStatus, MOMENT));
    providers.set_script("second", respond_immediately("2"));
    let rig = TestCore::idle(
        &[test_source("a", &["first", "second"], test_schedule())],
        providers,
    );
    let answer = rig.live_results(&["a"], seconds(4)).await;
    assert_eq!(answer["resultados"]["a"]["provider"], "second");
    let ms = answer["resultados"]["a"]["ms"].as_f64().unwrap();
    assert!((200.0..210.0).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn hedge_cancels_the_loser() {
    let providers = ScriptedFetch::default();
    providers.set_script("first", |_| ScriptedAction::TimeOut);
    providers.set_script("second", respond_immediately("2"));
    let hedged = Schedule {
        hedge_after: Some(Duration::from_millis(800)),
        ..test_schedule()
    };
    let rig = TestCore::idle(&[test_source("a", &["first", "second"], hedged)], providers);
    let answer = rig.live_results(&["a"], seconds(4)).await;
    assert_eq!(answer["resultados"]["a"]["provider"], "second");
    let ms = answer["resultados"]["a"]["ms"].as_f64().unwrap();
    assert!((900.0..910.0).contains(&ms), "{ms}");
    assert_eq!(rig.providers.cancelled_calls(), ["first"]);
    let tries = rig.core.cache.snapshot().source_states()[0]
        .history
        .provider_attempts
        .clone();
    assert_eq!(
        tries
            .iter()
            .map(|one| one.result.clone())
            .collect::<Vec<_>>(),
        [
            ProviderAttemptResult::Superseded,
            ProviderAttemptResult::Succeeded
        ]
    );
    assert_eq!(tries[0].duration, Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn min_interval_applies_to_each_provider() {
    let providers = ScriptedFetch::default();
    // The second is asked late in every other flight and would be asked early in the next.
    let late = |n| Duration::from_millis(if n % 2 == 0 { 900 } else { 1 });
    providers.set_script("first", move |n| {
        ScriptedAction::Fail(Code::HttpStatus, late(n))
    });
    providers.set_script("second", |_| {
        ScriptedAction::Respond("2", Duration::from_millis(1))
    });
    let rig = TestCore::idle(
        &[test_source("a", &["first", "second"], test_schedule())],
        providers,
    );
    for _ in 0..600 {
        assert_eq!(
            rig.live_results(&["a"], seconds(4)).await["resultados"]["a"]["ok"],
            true
        );
        sleep(Duration::from_millis(50)).await;
    }
    for provider in ["first", "second"] {
        let calls = rig.providers.call_times(provider);
        assert!(calls.len() > 15, "{provider}: {}", calls.len());
        assert!(
            call_intervals(&calls).iter().all(|pause| *pause >= 1.0),
            "{provider}: {:?}",
            call_intervals(&calls)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn cooling_provider_is_skipped() {
    let providers = ScriptedFetch::default();
    providers.set_script("first", |n| {
        ScriptedAction::Fail(
            Code::HttpStatus,
            Duration::from_millis(if n == 0 { 900 } else { 1 }),
        )
    });
    providers.set_script("second", |_| {
        ScriptedAction::Respond("2", Duration::from_millis(1))
    });
    providers.set_script("third", |_| {
        ScriptedAction::Respond("3", Duration::from_millis(1))
    });
    let rig = TestCore::idle(
        &[test_source(
            "a",
            &["first", "second", "third"],
            test_schedule(),
        )],
        providers,
    );
    let mut told = Vec::new();
    for pause in [MOMENT, seconds(1), MOMENT] {
        told.push(rig.live_results(&["a"], seconds(4)).await["resultados"]["a"]["data"].clone());
        sleep(pause).await;
    }
    assert_eq!(told, [2, 3, 2].map(Value::from));
}

#[tokio::test(start_paused = true)]
async fn failed_flight_names_every_provider() {
    let providers = ScriptedFetch::default();
    providers.set_script("first", |_| ScriptedAction::Fail(Code::HttpStatus, MOMENT));
    providers.set_script("second", |_| ScriptedAction::TimeOut);
    let rig = TestCore::idle(
        &[test_source("a", &["first", "second"], test_schedule())],
        providers,
    );
    let answer = rig.live_results(&["a"], seconds(5)).await;
    let a = &answer["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["code"]),
        (&json!(false), &json!("http_status"))
    );
    assert_eq!(a["error"], "first: scripted; second: scripted");
    let tries = &rig.core.cache.snapshot().source_states()[0]
        .history
        .provider_attempts
        .clone();
    assert_eq!(tries.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn panic_fails_its_flight_only() {
    let providers = ScriptedFetch::default();
    providers.set_script("bad", |_| ScriptedAction::Panic);
    providers.set_script("good", respond_immediately("2"));
    let rig = TestCore::start(
        &[
            test_source("a", &["bad"], test_schedule()),
            test_source("b", &["good"], test_schedule()),
        ],
        providers,
    );
    sleep(seconds(20)).await;
    let answer = rig.current_results();
    assert_eq!(answer["resultados"]["a"]["code"], "panic");
    assert_eq!(answer["resultados"]["b"]["ok"], true);
    assert!(
        rig.providers.call_times("bad").len() >= 3,
        "it is tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn race_panic_names_provider() {
    let providers = ScriptedFetch::default();
    providers.set_script("first", |_| ScriptedAction::Respond("1", MOMENT * 5));
    providers.set_script("second", |_| ScriptedAction::Panic);
    let hedged = Schedule {
        hedge_after: Some(MOMENT),
        ..test_schedule()
    };
    let rig = TestCore::idle(&[test_source("a", &["first", "second"], hedged)], providers);
    let answer = rig.live_results(&["a"], seconds(4)).await;
    assert_eq!(answer["resultados"]["a"]["provider"], "first");
    let tries = rig.core.cache.snapshot().source_states()[0]
        .history
        .provider_attempts
        .clone();
    let codes: Vec<_> = tries
        .iter()
        .map(|one| one.failure().map(|failure| failure.code))
        .collect();
    assert_eq!(codes, [None, Some(Code::Panic)]);
}

#[tokio::test(start_paused = true)]
async fn derived_source_names_failing_input() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |n| {
        if n < 2 {
            ScriptedAction::Respond("{\"usd\":3}", MOMENT)
        } else {
            ScriptedAction::Fail(Code::NotJson, MOMENT)
        }
    });
    providers.set_script("q", respond_immediately("{\"ars\":100}"));
    let sources = [
        test_source("btc", &["p"], test_schedule()),
        test_source("usd", &["q"], test_schedule()),
        test_derived_source("btc_ars", &["btc", "usd"], "."),
    ];
    let rig = TestCore::idle(&sources, providers);
    let answer = rig.live_results(&["btc_ars"], seconds(4)).await;
    let value = &answer["resultados"]["btc_ars"];
    assert_eq!(
        (&value["data"], &value["from"]),
        (
            &json!({"btc": {"usd": 3}, "usd": {"ars": 100}}),
            &json!("live")
        )
    );
    assert_eq!(value["ok"], true);
    sleep(seconds(2)).await;
    rig.live_results(&["btc_ars"], seconds(4)).await;
    sleep(seconds(2)).await;
    let failing = rig.live_results(&["btc_ars"], seconds(4)).await;
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
    let providers = ScriptedFetch::default();
    providers.set_script("p", |n| {
        if n == 0 {
            ScriptedAction::Respond("1", MOMENT)
        } else {
            ScriptedAction::Fail(Code::Timeout, MOMENT)
        }
    });
    providers.set_script("q", respond_immediately("2"));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
        test_derived_source("both", &["a", "b"], "."),
    ];
    let rig = TestCore::start(&sources, providers);
    sleep(seconds(60)).await;
    let answer = rig.current_results();
    let of = |name: &str| answer["resultados"][name].clone();
    assert_eq!(
        (of("a")["stale"].clone(), of("b")["stale"].clone()),
        (json!(true), json!(false))
    );
    assert_eq!(of("both")["stale"], true);
    assert_eq!(of("both")["fetched_at"], of("a")["fetched_at"]);
    assert_eq!(of("both")["data"], json!({"a": 1, "b": 2}));
    let order: Vec<String> = answer["resultados"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(order, ["a", "b", "both"]);
    assert_ne!(answer["resultados"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn unread_derived_source_has_no_provider() {
    let providers = ScriptedFetch::default();
    providers.set_script("p", respond_immediately("1"));
    providers.set_script("q", |_| ScriptedAction::Respond("2", seconds(3)));
    let sources = [
        test_source("a", &["p"], test_schedule()),
        test_source("b", &["q"], test_schedule()),
        test_derived_source("both", &["a", "b"], "."),
    ];
    let rig = TestCore::idle(&sources, providers);
    let both = rig.live_results(&["both"], seconds(1)).await["resultados"]["both"].clone();
    assert_eq!(
        (&both["ok"], &both["code"], &both["from"]),
        (&json!(false), &json!("timeout"), &json!("snapshot"))
    );
    sleep(seconds(3)).await;
    assert_eq!(
        rig.live_results(&["both"], seconds(4)).await["resultados"]["both"]["from"],
        "live"
    );
}
