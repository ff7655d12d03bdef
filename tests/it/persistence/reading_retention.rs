//! Readings across reloads and restarts: a reading belongs to the name and the filters of its source.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{
    Code, DerivedComputation, Failure, Freshness, FreshnessPolicy, JsonData, Outcome, Provider,
    ProviderAttempt, ProviderAttemptResult, Reading, Schedule, Snapshot, Source, SourceIdentity,
    SourceKind, SourceSet, Time,
};

use crate::support::scripted_fetch;
use crate::support::scripted_fetch::test_name;

const SECOND: Duration = Duration::from_secs(1);

fn provider(name: &str, extract: &str) -> Provider {
    Provider {
        extract: extract.into(),
        ..scripted_fetch::test_provider(name)
    }
}

fn fetched_source(name: &str, providers: Vec<Provider>, interval: Duration) -> Arc<Source> {
    let schedule = Schedule {
        interval,
        timeout: SECOND,
        min_interval: SECOND,
        hedge_after: None,
    };
    let freshness_policy = FreshnessPolicy {
        ttl: 30 * SECOND,
        max_stale: 3600 * SECOND,
    };
    Arc::new(Source {
        name: test_name(name),
        kind: SourceKind::Fetched {
            providers,
            schedule,
        },
        freshness_policy,
        attribution: None,
        appearance: Arc::default(),
        metrics: Arc::default(),
    })
}

fn source_a(extract: &str) -> Arc<Source> {
    fetched_source("a", vec![provider("p", extract)], 60 * SECOND)
}

fn derived_source(input: &str) -> Arc<Source> {
    let kind = SourceKind::Derived {
        inputs: vec![test_name(input)],
        extract: ".a".into(),
    };
    let freshness_policy = FreshnessPolicy {
        ttl: 30 * SECOND,
        max_stale: 3600 * SECOND,
    };
    Arc::new(Source {
        name: test_name("d"),
        kind,
        freshness_policy,
        attribution: None,
        appearance: Arc::default(),
        metrics: Arc::default(),
    })
}

fn source_set(sources: &[Arc<Source>]) -> Arc<SourceSet> {
    Arc::new(SourceSet::new(sources.to_vec()))
}

fn time_at(seconds: i64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn success_outcome(source: &Source, at: Time) -> Outcome {
    let reading = Reading {
        fetched_at: at,
        provider: test_name("p"),
        data: JsonData::from_checked("0.10"),
        extra_ttl: Duration::ZERO,
    };
    let identity = SourceIdentity::from_source(source);
    Outcome {
        source: source.name.clone(),
        identity,
        started_at: at,
        duration: SECOND,
        result: Ok(reading),
        provider_attempts: Vec::new(),
    }
}

/// `a` has a reading of 100 s, and its next attempt is at 160 s.
fn snapshot_with_reading() -> Snapshot {
    let source = source_a(".");
    let read = Snapshot::new(source_set(std::slice::from_ref(&source)))
        .merge_outcome(&success_outcome(&source, time_at(100)))
        .snapshot;
    read.with_next_attempt(0, Some(time_at(160)))
}

fn snapshot_after_reload(sources: &[Arc<Source>]) -> Snapshot {
    snapshot_with_reading().with_source_set(source_set(sources))
}

fn has_reading(snapshot: &Snapshot) -> bool {
    snapshot.source_states()[0].reading.is_some()
}

#[test]
fn timing_change_keeps_reading() {
    let slower =
        snapshot_after_reload(&[fetched_source("a", vec![provider("p", ".")], 600 * SECOND)]);
    assert!(has_reading(&slower));
    assert_eq!(slower.next_attempt(0), Some(time_at(700)));
    assert_eq!(
        snapshot_after_reload(&[source_a(".")]).next_attempt(0),
        Some(time_at(160)),
        "without a change the next attempt stays"
    );
}

#[test]
fn request_change_keeps_reading() {
    let mut moved = provider("p", ".");
    moved.request.url = "http://127.0.0.1:2/".parse().unwrap();
    let snapshot = snapshot_after_reload(&[fetched_source(
        "a",
        vec![moved, provider("q", ".")],
        60 * SECOND,
    )]);
    assert!(has_reading(&snapshot));
    assert_eq!(snapshot.next_attempt(0), None);
}

#[test]
fn filter_change_drops_reading() {
    let snapshot = snapshot_after_reload(&[source_a(".x")]);
    assert!(!has_reading(&snapshot));
    assert!(snapshot.is_ready_to_answer(0));
    assert_eq!(
        snapshot.source_view(0, time_at(101)).failure.unwrap().code,
        Code::Pending
    );
}

#[test]
fn old_filter_result_is_ignored() {
    let snapshot = snapshot_after_reload(&[source_a(".x")]);
    let merged = snapshot.merge_outcome(&success_outcome(&source_a("."), time_at(102)));
    assert!(merged.position.is_none() && !has_reading(&merged.snapshot));
    assert!(
        snapshot
            .merge_outcome(&success_outcome(&source_a(".x"), time_at(102)))
            .position
            .is_some()
    );
}

#[test]
fn input_filter_change_drops_derived() {
    let sources = |extract| [source_a(extract), derived_source("a")];
    let before = snapshot_with_reading().with_source_set(source_set(&sources(".")));
    let computation = DerivedComputation {
        identity: before.source_set().identity(1),
        input_versions: before.current_input_versions(1).unwrap(),
        computed_at: time_at(101),
        duration: SECOND,
        result: Ok(JsonData::from_checked("1")),
    };
    let computed = before.with_computation(&test_name("d"), &computation);
    assert!(computed.is_derived_current(1));
    assert!(
        computed
            .with_source_set(source_set(&sources(".")))
            .source_states()[1]
            .reading
            .is_some()
    );
    let after = computed.with_source_set(source_set(&sources(".x")));
    assert!(after.source_states()[1].reading.is_none());
    assert!(
        after
            .with_computation(&test_name("d"), &computation)
            .source_states()[1]
            .reading
            .is_none(),
        "the computation used the old filter"
    );
}

#[test]
fn restart_keeps_schedule() {
    let failed = Outcome {
        result: Err(Failure::new(Code::Timeout, "slow")),
        started_at: time_at(160),
        ..success_outcome(&source_a("."), time_at(160))
    };
    let before = snapshot_with_reading().merge_outcome(&failed).snapshot;
    let records: Vec<_> = before
        .source_records()
        .into_iter()
        .map(|saved| saved.shift_clock(0, time_at(200)))
        .collect();
    let after = Snapshot::new(source_set(&[source_a(".")])).restore(&records);
    assert_eq!(
        after.source_view(0, time_at(200)),
        before.source_view(0, time_at(200))
    );
    assert_eq!(after.source_states()[0].history.failure_count, 1);
    assert!(after.is_ready_to_answer(0));
    assert_eq!(after.next_attempt(0), None, "a start attempts all sources");
    assert!(
        !has_reading(&Snapshot::new(source_set(&[source_a(".x")])).restore(&records)),
        "another filter"
    );
}

#[test]
fn restore_keeps_newer_reading() {
    let records = snapshot_with_reading().source_records();
    let newer = snapshot_with_reading()
        .merge_outcome(&success_outcome(&source_a("."), time_at(150)))
        .snapshot;
    assert_eq!(
        newer.restore(&records).source_view(0, time_at(200)),
        newer.source_view(0, time_at(200))
    );
}

#[test]
fn future_reading_is_rejected() {
    let records: Vec<_> = snapshot_with_reading()
        .source_records()
        .into_iter()
        .map(|saved| saved.shift_clock(0, time_at(50)))
        .collect();
    let after = Snapshot::new(source_set(&[source_a(".")])).restore(&records);
    assert_eq!(
        after.source_states()[0]
            .reading
            .as_ref()
            .unwrap()
            .fetched_at,
        time_at(50)
    );
    assert_eq!(
        after.source_view(0, time_at(50)).freshness,
        Freshness::Fresh
    );
}

#[test]
fn retry_after_survives_restart() {
    let next_attempt_after = |held_until| {
        let failure = Failure::new(Code::RateLimited, "slow down");
        let attempt = ProviderAttempt {
            provider: test_name("p"),
            started_at: time_at(160),
            duration: SECOND,
            result: ProviderAttemptResult::Failed(failure.clone()),
            held_until: Some(held_until),
        };
        let failed = Outcome {
            result: Err(failure),
            provider_attempts: vec![attempt],
            ..success_outcome(&source_a("."), time_at(160))
        };
        let before = Snapshot::new(source_set(&[source_a(".")]))
            .merge_outcome(&failed)
            .snapshot;
        let records: Vec<_> = before
            .source_records()
            .into_iter()
            .map(|saved| saved.shift_clock(0, time_at(200)))
            .collect();
        Snapshot::new(source_set(&[source_a(".")]))
            .restore(&records)
            .next_attempt(0)
    };
    assert_eq!(next_attempt_after(time_at(400)), Some(time_at(400)));
    assert_eq!(
        next_attempt_after(time_at(99_999)),
        Some(time_at(200 + 15 * 60)),
        "15 minutes at most"
    );
}
