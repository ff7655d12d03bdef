//! Flights, the schedule and live rounds, under paused time. Filters are `.` here: others run on threads of their own,
//! which a paused clock does not wait for.

use std::time::Duration;

use resumen::domain::{Code, End, Pace};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};

use crate::support::scripted::{Act, Rig, Scripted, derived, pace, source};

const MOMENT: Duration = Duration::from_millis(100);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn answering(json: &'static str) -> impl Fn(usize) -> Act + Send + Sync + 'static {
    move |_| Act::Answer(json, MOMENT)
}

/// The pauses between calls, in seconds.
fn pauses(calls: &[Instant]) -> Vec<f64> {
    calls
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect()
}

fn assert_near(pauses: &[f64], nominal: &[f64]) {
    assert!(pauses.len() >= nominal.len(), "{pauses:?}");
    for (pause, nominal) in pauses.iter().zip(nominal) {
        assert!(
            (nominal * 0.899..=nominal * 1.101).contains(pause),
            "{pauses:?} should be near {nominal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_live_requests_share_one_flight() {
    let providers = Scripted::default();
    providers.script("p", answering("1"));
    let rig = std::sync::Arc::new(Rig::idle(&[source("a", &["p"], pace())], providers));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let rig = std::sync::Arc::clone(&rig);
        requests.spawn(async move { rig.live(&["a"], seconds(4)).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer["resultados"]["a"]["from"], "live");
        assert_eq!(answer["resultados"]["a"]["data"], 1);
    }
    assert_eq!(rig.providers.calls("p").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn live_requests_never_call_more_often_than_min_interval() {
    let providers = Scripted::default();
    providers.script("p", |_| Act::Answer("1", Duration::from_millis(3)));
    let slow = Pace {
        min_interval: seconds(5),
        interval: seconds(600),
        ..pace()
    };
    let rig = Rig::start(&[source("a", &["p"], slow)], providers);
    for _ in 0..600 {
        let answer = rig.live(&["a"], seconds(4)).await;
        assert_eq!(answer["resultados"]["a"]["ok"], true);
        sleep(MOMENT).await;
    }
    let calls = rig.providers.calls("p");
    assert!((11..=13).contains(&calls.len()), "{}", calls.len());
    assert!(pauses(&calls).iter().all(|pause| *pause >= 5.0));
}

#[tokio::test(start_paused = true)]
async fn a_held_back_live_request_is_answered_from_the_snapshot() {
    let providers = Scripted::default();
    providers.script("p", answering("1"));
    let rig = Rig::idle(&[source("a", &["p"], pace())], providers);
    rig.live(&["a"], seconds(4)).await;
    let second = rig.live(&["a"], seconds(4)).await;
    assert_eq!(second["resultados"]["a"]["from"], "snapshot");
    assert_eq!(second["resultados"]["a"]["ok"], true);
    assert_eq!(rig.providers.calls("p").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_every_interval_and_sooner_after_failures() {
    let providers = Scripted::default();
    providers.script("p", |n| {
        if n < 5 {
            Act::Fail(Code::HttpStatus, MOMENT)
        } else {
            Act::Answer("1", MOMENT)
        }
    });
    let slow = Pace {
        interval: seconds(30),
        ..pace()
    };
    let rig = Rig::start(&[source("a", &["p"], slow)], providers);
    sleep(seconds(200)).await;
    assert_near(
        &pauses(&rig.providers.calls("p")),
        &[5.0, 10.0, 20.0, 30.0, 30.0, 30.0],
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_the_schedule_and_live_requests() {
    let providers = Scripted::default();
    providers.script("p", |n| {
        if n == 0 {
            Act::Hold(seconds(60))
        } else {
            Act::Answer("1", MOMENT)
        }
    });
    let rig = Rig::start(&[source("a", &["p"], pace())], providers);
    for _ in 0..50 {
        sleep(seconds(1)).await;
        let answer = rig.live(&["a"], seconds(4)).await;
        assert_eq!(answer["resultados"]["a"]["code"], "rate_limited");
    }
    assert_eq!(rig.providers.calls("p").len(), 1);
    sleep(seconds(12)).await;
    let calls = rig.providers.calls("p");
    assert_eq!(calls.len(), 2);
    assert!(
        (60.0..61.0).contains(&pauses(&calls)[0]),
        "{:?}",
        pauses(&calls)
    );
}

#[tokio::test(start_paused = true)]
async fn a_held_provider_is_skipped_while_another_is_free() {
    let providers = Scripted::default();
    providers.script("first", |_| Act::Hold(seconds(600)));
    providers.script("second", answering("2"));
    let rig = Rig::start(&[source("a", &["first", "second"], pace())], providers);
    sleep(seconds(100)).await;
    assert_eq!(rig.providers.calls("first").len(), 1);
    assert!(rig.providers.calls("second").len() >= 6);
    assert_eq!(rig.now()["resultados"]["a"]["provider"], "second");
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_does_not_delay_another() {
    let providers = Scripted::default();
    providers.script("slow", |_| Act::Silent);
    providers.script("quick", answering("1"));
    let sources = [
        source("a", &["slow"], pace()),
        source("b", &["quick"], pace()),
    ];
    let rig = Rig::start(&sources, providers);
    sleep(seconds(120)).await;
    assert_near(&pauses(&rig.providers.calls("quick")), &[15.0; 6]);
    assert_eq!(rig.now()["resultados"]["a"]["code"], "timeout");
    assert_eq!(rig.now()["resultados"]["b"]["ok"], true);
}

#[tokio::test(start_paused = true)]
async fn a_live_flight_counts_as_the_scheduled_one() {
    let providers = Scripted::default();
    providers.script("p", answering("1"));
    let rig = Rig::start(&[source("a", &["p"], pace())], providers);
    sleep(seconds(10)).await;
    rig.live(&["a"], seconds(4)).await;
    sleep(seconds(20)).await;
    let calls = pauses(&rig.providers.calls("p"));
    assert!((9.9..10.1).contains(&calls[0]), "{calls:?}");
    assert_near(&calls[1..], &[15.0]);
}

#[tokio::test(start_paused = true)]
async fn a_live_answer_keeps_its_deadline_and_tells_who_is_late() {
    let providers = Scripted::default();
    providers.script("slow", |n| {
        Act::Answer("1", if n == 0 { MOMENT } else { seconds(3) })
    });
    providers.script("quick", answering("2"));
    let sources = [
        source("a", &["slow"], pace()),
        source("b", &["quick"], pace()),
    ];
    let rig = Rig::idle(&sources, providers);
    rig.live(&["a"], seconds(4)).await;
    advance(seconds(2)).await;
    let clock = rig.engine.clock;
    let begun = clock.instant();
    let answer = rig.live(&["b", "a"], seconds(1)).await;
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
        rig.now()["resultados"]["a"].get("code"),
        None,
        "the flight went on and landed"
    );
    assert!(rig.now()["resultados"]["a"]["age_ms"].as_i64().unwrap() < 4100);
}

#[tokio::test(start_paused = true)]
async fn the_next_provider_starts_at_once_after_a_failure() {
    let providers = Scripted::default();
    providers.script("first", |_| Act::Fail(Code::HttpStatus, MOMENT));
    providers.script("second", answering("2"));
    let rig = Rig::idle(&[source("a", &["first", "second"], pace())], providers);
    let answer = rig.live(&["a"], seconds(4)).await;
    assert_eq!(answer["resultados"]["a"]["provider"], "second");
    let ms = answer["resultados"]["a"]["ms"].as_f64().unwrap();
    assert!((200.0..210.0).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_starts_the_next_provider_early_and_cancels_the_loser() {
    let providers = Scripted::default();
    providers.script("first", |_| Act::Silent);
    providers.script("second", answering("2"));
    let hedged = Pace {
        hedge_after: Some(Duration::from_millis(800)),
        ..pace()
    };
    let rig = Rig::idle(&[source("a", &["first", "second"], hedged)], providers);
    let answer = rig.live(&["a"], seconds(4)).await;
    assert_eq!(answer["resultados"]["a"]["provider"], "second");
    let ms = answer["resultados"]["a"]["ms"].as_f64().unwrap();
    assert!((900.0..910.0).contains(&ms), "{ms}");
    assert_eq!(rig.providers.cancelled(), ["first"]);
    let tries = rig.engine.cache.snapshot().entries()[0].trail.tries.clone();
    assert_eq!(
        tries.iter().map(|one| one.end.clone()).collect::<Vec<_>>(),
        [End::Outrun, End::Won]
    );
    assert_eq!(tries[0].took, Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn a_flight_leaves_each_provider_alone_for_min_interval_not_only_the_first() {
    let providers = Scripted::default();
    // The second is asked late in every other flight and would be asked early in the next.
    let late = |n| Duration::from_millis(if n % 2 == 0 { 900 } else { 1 });
    providers.script("first", move |n| Act::Fail(Code::HttpStatus, late(n)));
    providers.script("second", |_| Act::Answer("2", Duration::from_millis(1)));
    let rig = Rig::idle(&[source("a", &["first", "second"], pace())], providers);
    for _ in 0..600 {
        assert_eq!(
            rig.live(&["a"], seconds(4)).await["resultados"]["a"]["ok"],
            true
        );
        sleep(Duration::from_millis(50)).await;
    }
    for provider in ["first", "second"] {
        let calls = rig.providers.calls(provider);
        assert!(calls.len() > 15, "{provider}: {}", calls.len());
        assert!(
            pauses(&calls).iter().all(|pause| *pause >= 1.0),
            "{provider}: {:?}",
            pauses(&calls)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_rests_is_passed_over_for_one_that_need_not() {
    let providers = Scripted::default();
    providers.script("first", |n| {
        Act::Fail(
            Code::HttpStatus,
            Duration::from_millis(if n == 0 { 900 } else { 1 }),
        )
    });
    providers.script("second", |_| Act::Answer("2", Duration::from_millis(1)));
    providers.script("third", |_| Act::Answer("3", Duration::from_millis(1)));
    let rig = Rig::idle(
        &[source("a", &["first", "second", "third"], pace())],
        providers,
    );
    let mut told = Vec::new();
    for pause in [MOMENT, seconds(1), MOMENT] {
        told.push(rig.live(&["a"], seconds(4)).await["resultados"]["a"]["data"].clone());
        sleep(pause).await;
    }
    assert_eq!(told, [2, 3, 2].map(Value::from));
}

#[tokio::test(start_paused = true)]
async fn when_all_providers_fail_the_message_names_each() {
    let providers = Scripted::default();
    providers.script("first", |_| Act::Fail(Code::HttpStatus, MOMENT));
    providers.script("second", |_| Act::Silent);
    let rig = Rig::idle(&[source("a", &["first", "second"], pace())], providers);
    let answer = rig.live(&["a"], seconds(5)).await;
    let a = &answer["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["code"]),
        (&json!(false), &json!("http_status"))
    );
    assert_eq!(a["error"], "first: scripted; second: scripted");
    let tries = &rig.engine.cache.snapshot().entries()[0].trail.tries.clone();
    assert_eq!(tries.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_its_own_flights_failure() {
    let providers = Scripted::default();
    providers.script("bad", |_| Act::Panic);
    providers.script("good", answering("2"));
    let rig = Rig::start(
        &[
            source("a", &["bad"], pace()),
            source("b", &["good"], pace()),
        ],
        providers,
    );
    sleep(seconds(20)).await;
    let answer = rig.now();
    assert_eq!(answer["resultados"]["a"]["code"], "panic");
    assert_eq!(answer["resultados"]["b"]["ok"], true);
    assert!(rig.providers.calls("bad").len() >= 3, "it is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_race_is_blamed_on_the_provider_that_had_it() {
    let providers = Scripted::default();
    providers.script("first", |_| Act::Answer("1", MOMENT * 5));
    providers.script("second", |_| Act::Panic);
    let hedged = Pace {
        hedge_after: Some(MOMENT),
        ..pace()
    };
    let rig = Rig::idle(&[source("a", &["first", "second"], hedged)], providers);
    let answer = rig.live(&["a"], seconds(4)).await;
    assert_eq!(answer["resultados"]["a"]["provider"], "first");
    let tries = rig.engine.cache.snapshot().entries()[0].trail.tries.clone();
    let codes: Vec<_> = tries
        .iter()
        .map(|one| one.failure().map(|failure| failure.code))
        .collect();
    assert_eq!(codes, [None, Some(Code::Panic)]);
}

#[tokio::test(start_paused = true)]
async fn derived_values_follow_their_inputs_and_name_the_one_that_fails() {
    let providers = Scripted::default();
    providers.script("p", |n| {
        if n < 2 {
            Act::Answer("{\"usd\":3}", MOMENT)
        } else {
            Act::Fail(Code::NotJson, MOMENT)
        }
    });
    providers.script("q", answering("{\"ars\":100}"));
    let sources = [
        source("btc", &["p"], pace()),
        source("usd", &["q"], pace()),
        derived("btc_ars", &["btc", "usd"], "."),
    ];
    let rig = Rig::idle(&sources, providers);
    let answer = rig.live(&["btc_ars"], seconds(4)).await;
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
    rig.live(&["btc_ars"], seconds(4)).await;
    sleep(seconds(2)).await;
    let failing = rig.live(&["btc_ars"], seconds(4)).await;
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
async fn derived_values_are_as_stale_as_their_oldest_input() {
    let providers = Scripted::default();
    providers.script("p", |n| {
        if n == 0 {
            Act::Answer("1", MOMENT)
        } else {
            Act::Fail(Code::Timeout, MOMENT)
        }
    });
    providers.script("q", answering("2"));
    let sources = [
        source("a", &["p"], pace()),
        source("b", &["q"], pace()),
        derived("both", &["a", "b"], "."),
    ];
    let rig = Rig::start(&sources, providers);
    sleep(seconds(60)).await;
    let answer = rig.now();
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
async fn a_derived_source_without_a_reading_was_brought_by_nobody() {
    let providers = Scripted::default();
    providers.script("p", answering("1"));
    providers.script("q", |_| Act::Answer("2", seconds(3)));
    let sources = [
        source("a", &["p"], pace()),
        source("b", &["q"], pace()),
        derived("both", &["a", "b"], "."),
    ];
    let rig = Rig::idle(&sources, providers);
    let both = rig.live(&["both"], seconds(1)).await["resultados"]["both"].clone();
    assert_eq!(
        (&both["ok"], &both["code"], &both["from"]),
        (&json!(false), &json!("timeout"), &json!("snapshot"))
    );
    sleep(seconds(3)).await;
    assert_eq!(
        rig.live(&["both"], seconds(4)).await["resultados"]["both"]["from"],
        "live"
    );
}
