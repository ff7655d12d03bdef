//! Merging of outcomes: order, repetition and delay do not change the result, and a failure never
//! removes a reading.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use resumen::domain::{
    Code, Failure, Freshness, JsonData, Outcome, Reading, Snapshot, Source, SourceIdentity,
    SourceSet, SourceState, Time,
};

use crate::support::scripted_fetch;
use crate::support::scripted_fetch::test_name;

fn source(text: &str) -> Arc<Source> {
    scripted_fetch::test_source(text, &["p"], scripted_fetch::test_schedule())
}

fn outcome_of(name: &str, at: Time, result: Result<Reading, Failure>) -> Outcome {
    let identity = SourceIdentity::from_source(&source(name));
    Outcome {
        source: test_name(name),
        identity,
        started_at: at,
        duration: Duration::ZERO,
        result,
        provider_attempts: Vec::new(),
    }
}

fn empty_snapshot() -> Snapshot {
    Snapshot::new(Arc::new(SourceSet::new(vec![source("a"), source("b")])))
}

fn outcome_strategy() -> impl Strategy<Value = Outcome> {
    let source = prop_oneof![Just("a"), Just("b"), Just("unknown")];
    (source, 0..50i64, 0..3u8, any::<bool>()).prop_map(|(source, at, kind, ok)| {
        let at = Time::from_millis(at);
        let data = JsonData::from_checked(kind.to_string());
        let reading = Reading {
            fetched_at: at,
            provider: test_name("p"),
            data,
            extra_ttl: Duration::ZERO,
        };
        let code = [Code::Timeout, Code::NotJson, Code::HttpStatus][usize::from(kind)];
        let result = if ok {
            Ok(reading)
        } else {
            Err(Failure::new(code, "no"))
        };
        outcome_of(source, at, result)
    })
}

fn merge_all(outcomes: &[Outcome]) -> Snapshot {
    outcomes.iter().fold(empty_snapshot(), |snapshot, outcome| {
        snapshot.merge_outcome(outcome).snapshot
    })
}

/// What the merge laws compare: the two maxima of one source, and whether the failure is current.
type SourceMaxima = (Option<Reading>, Option<(Time, Failure)>, bool);

fn source_maxima(snapshot: &Snapshot) -> Vec<SourceMaxima> {
    let maxima = |entry: &Arc<SourceState>| {
        let record = entry
            .failure
            .as_deref()
            .map(|record| (record.started_at, record.failure.clone()));
        (
            entry.reading.as_deref().cloned(),
            record,
            entry.current_failure().is_some(),
        )
    };
    snapshot.source_states().iter().map(maxima).collect()
}

proptest! {
    #[test]
    fn merge_is_commutative(outcomes in prop::collection::vec(outcome_strategy(), 0..12), seed in any::<u64>()) {
        let mut shuffled = outcomes.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        prop_assert_eq!(source_maxima(&merge_all(&outcomes)), source_maxima(&merge_all(&shuffled)));
    }

    #[test]
    fn merge_is_idempotent(outcomes in prop::collection::vec(outcome_strategy(), 0..12), repeated in any::<prop::sample::Index>()) {
        let mut twice = outcomes.clone();
        if !outcomes.is_empty() {
            twice.push(repeated.get(&outcomes).clone());
        }
        prop_assert_eq!(source_maxima(&merge_all(&outcomes)), source_maxima(&merge_all(&twice)));
    }

    #[test]
    fn failure_keeps_reading(outcomes in prop::collection::vec(outcome_strategy(), 0..12), next in outcome_strategy()) {
        let before = merge_all(&outcomes);
        let after = before.merge_outcome(&next).snapshot;
        for (old, new) in before.source_states().iter().zip(after.source_states()) {
            prop_assert!(new.reading >= old.reading);
            prop_assert!(next.result.is_ok() || new.reading == old.reading);
        }
    }

    #[test]
    fn failing_since_streak_start(oks in prop::collection::vec(any::<bool>(), 1..20)) {
        let mut snapshot = empty_snapshot();
        let mut failing_since = None;
        let mut failure_count = 0;
        for (at, ok) in (1i64..).zip(oks) {
            let at = Time::from_millis(at * 10);
            let reading = Reading { fetched_at: at, provider: test_name("p"), data: JsonData::from_checked("1"), extra_ttl: Duration::ZERO };
            let result = if ok { Ok(reading) } else { Err(Failure::new(Code::Timeout, "no")) };
            let outcome = outcome_of("a", at, result);
            snapshot = snapshot.merge_outcome(&outcome).snapshot;
            (failing_since, failure_count) = if ok { (None, 0) } else { (failing_since.or(Some(at)), failure_count + 1) };
            let history = &snapshot.source_states()[0].history;
            prop_assert_eq!((history.failing_since, history.failure_count), (failing_since, failure_count));
        }
    }
}

#[test]
fn only_age_removes_reading() {
    let reading = Reading {
        fetched_at: Time::from_millis(0),
        provider: test_name("p"),
        data: JsonData::from_checked("1"),
        extra_ttl: Duration::ZERO,
    };
    let ok = outcome_of("a", reading.fetched_at, Ok(reading));
    let later = Time::from_millis(10);
    let failed = Outcome {
        started_at: later,
        result: Err(Failure::new(Code::NotJson, "no")),
        ..ok.clone()
    };
    let snapshot = merge_all(&[ok, failed]);
    let view = |seconds: i64| snapshot.source_view(0, Time::from_millis(seconds * 1000));
    assert_eq!(view(1).freshness, Freshness::Fresh);
    assert_eq!(view(1).failure.unwrap().code, Code::NotJson);
    assert_eq!(view(100).freshness, Freshness::Stale);
    assert!(view(100).reading.is_some());
    let expired = view(4000);
    assert!(expired.reading.is_none());
    assert_eq!(
        expired.failure.unwrap().code,
        Code::NotJson,
        "the code of the failure, not `expired`"
    );
    assert_eq!(
        snapshot.source_view(1, later).failure.unwrap().code,
        Code::Pending
    );
}
