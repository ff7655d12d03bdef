//! Newest wins: the order, repetition and lateness of outcomes never matter, and a failure never removes a reading.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use resumen::domain::{
    Code, Data, Entry, Failure, Freshness, Identity, Outcome, Reading, Roster, Snapshot, Source,
    Time,
};

use crate::support::scripted::{self, name};

fn source(text: &str) -> Arc<Source> {
    scripted::source(text, &["p"], scripted::pace())
}

fn ended(of: &str, at: Time, result: Result<Reading, Failure>) -> Outcome {
    let identity = Identity::of(&source(of));
    Outcome {
        source: name(of),
        identity,
        at,
        took: Duration::ZERO,
        result,
        tries: Vec::new(),
    }
}

fn empty() -> Snapshot {
    Snapshot::new(Arc::new(Roster::new(vec![source("a"), source("b")])))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let source = prop_oneof![Just("a"), Just("b"), Just("nobody")];
    (source, 0..50i64, 0..3u8, any::<bool>()).prop_map(|(source, at, kind, ok)| {
        let at = Time::from_millis(at);
        let data = Data::from_checked(kind.to_string());
        let reading = Reading {
            fetched_at: at,
            provider: name("p"),
            data,
        };
        let code = [Code::Timeout, Code::NotJson, Code::HttpStatus][usize::from(kind)];
        let result = if ok {
            Ok(reading)
        } else {
            Err(Failure::new(code, "no"))
        };
        ended(source, at, result)
    })
}

fn all(outcomes: &[Outcome]) -> Snapshot {
    outcomes.iter().fold(empty(), |snapshot, outcome| {
        snapshot.merge(outcome).snapshot
    })
}

/// What the merge laws speak of: the two maxima of one source, and whether the failure counts.
type Core = (Option<Reading>, Option<(Time, Failure)>, bool);

fn core(snapshot: &Snapshot) -> Vec<Core> {
    let of = |entry: &Arc<Entry>| {
        let lapse = entry
            .failure
            .as_deref()
            .map(|lapse| (lapse.at, lapse.failure.clone()));
        (
            entry.reading.as_deref().cloned(),
            lapse,
            entry.failing().is_some(),
        )
    };
    snapshot.entries().iter().map(of).collect()
}

proptest! {
    #[test]
    fn the_order_never_matters(outcomes in prop::collection::vec(outcome(), 0..12), seed in any::<u64>()) {
        let mut shuffled = outcomes.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        prop_assert_eq!(core(&all(&outcomes)), core(&all(&shuffled)));
    }

    #[test]
    fn repetition_never_matters(outcomes in prop::collection::vec(outcome(), 0..12), again in any::<prop::sample::Index>()) {
        let mut twice = outcomes.clone();
        if !outcomes.is_empty() {
            twice.push(again.get(&outcomes).clone());
        }
        prop_assert_eq!(core(&all(&outcomes)), core(&all(&twice)));
    }

    #[test]
    fn a_failure_never_removes_a_reading(outcomes in prop::collection::vec(outcome(), 0..12), next in outcome()) {
        let before = all(&outcomes);
        let after = before.merge(&next).snapshot;
        for (old, new) in before.entries().iter().zip(after.entries()) {
            prop_assert!(new.reading >= old.reading);
            prop_assert!(next.result.is_ok() || new.reading == old.reading);
        }
    }

    #[test]
    fn failing_is_told_since_the_first_failure_in_a_row(oks in prop::collection::vec(any::<bool>(), 1..20)) {
        let mut snapshot = empty();
        let mut since = None;
        let mut row = 0;
        for (at, ok) in (1i64..).zip(oks) {
            let at = Time::from_millis(at * 10);
            let reading = Reading { fetched_at: at, provider: name("p"), data: Data::from_checked("1") };
            let result = if ok { Ok(reading) } else { Err(Failure::new(Code::Timeout, "no")) };
            let outcome = ended("a", at, result);
            snapshot = snapshot.merge(&outcome).snapshot;
            (since, row) = if ok { (None, 0) } else { (since.or(Some(at)), row + 1) };
            let trail = &snapshot.entries()[0].trail;
            prop_assert_eq!((trail.failing_since, trail.failures), (since, row));
        }
    }
}

#[test]
fn only_age_removes_a_reading() {
    let reading = Reading {
        fetched_at: Time::from_millis(0),
        provider: name("p"),
        data: Data::from_checked("1"),
    };
    let ok = ended("a", reading.fetched_at, Ok(reading));
    let late = Time::from_millis(10);
    let failed = Outcome {
        at: late,
        result: Err(Failure::new(Code::NotJson, "no")),
        ..ok.clone()
    };
    let snapshot = all(&[ok, failed]);
    let state = |seconds: i64| snapshot.state(0, Time::from_millis(seconds * 1000));
    assert_eq!(state(1).freshness, Freshness::Fresh);
    assert_eq!(state(1).error.unwrap().code, Code::NotJson);
    assert_eq!(state(100).freshness, Freshness::Stale);
    assert!(state(100).reading.is_some());
    let gone = state(4000);
    assert!(gone.reading.is_none());
    assert_eq!(
        gone.error.unwrap().code,
        Code::NotJson,
        "a failure's own code goes before `expired`"
    );
    assert_eq!(snapshot.state(1, late).error.unwrap().code, Code::Pending);
}
