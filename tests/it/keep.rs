//! What a reload and a restart keep: readings belong to a source's name and filters, and to nothing else.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{
    Code, Data, Derivation, End, Failure, Freshness, Identity, Kind, Outcome, Pace, Provider,
    Reading, Roster, Shelf, Snapshot, Source, Time, Try,
};

use crate::support::scripted::{self, name};

const SECOND: Duration = Duration::from_secs(1);

fn provider(called: &str, extract: &str) -> Provider {
    Provider {
        extract: extract.into(),
        ..scripted::provider(called)
    }
}

fn fetched(called: &str, providers: Vec<Provider>, interval: Duration) -> Arc<Source> {
    let pace = Pace {
        interval,
        timeout: SECOND,
        min_interval: SECOND,
        hedge_after: None,
    };
    let shelf = Shelf {
        ttl: 30 * SECOND,
        max_stale: 3600 * SECOND,
    };
    Arc::new(Source {
        name: name(called),
        kind: Kind::Fetched { providers, pace },
        shelf,
        attribution: None,
    })
}

fn a(extract: &str) -> Arc<Source> {
    fetched("a", vec![provider("p", extract)], 60 * SECOND)
}

fn derived(from: &str) -> Arc<Source> {
    let kind = Kind::Derived {
        from: vec![name(from)],
        extract: ".a".into(),
    };
    let shelf = Shelf {
        ttl: 30 * SECOND,
        max_stale: 3600 * SECOND,
    };
    Arc::new(Source {
        name: name("d"),
        kind,
        shelf,
        attribution: None,
    })
}

fn roster(sources: &[Arc<Source>]) -> Arc<Roster> {
    Arc::new(Roster::new(sources.to_vec()))
}

fn at(seconds: i64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn success(source: &Source, when: Time) -> Outcome {
    let reading = Reading {
        fetched_at: when,
        provider: name("p"),
        data: Data::from_checked("0.10"),
    };
    let identity = Identity::of(source);
    Outcome {
        source: source.name.clone(),
        identity,
        at: when,
        took: SECOND,
        result: Ok(reading),
        tries: Vec::new(),
    }
}

/// `a` read at 100 s and planned for 160 s.
fn known() -> Snapshot {
    let source = a(".");
    let read = Snapshot::new(roster(std::slice::from_ref(&source)))
        .merge(&success(&source, at(100)))
        .snapshot;
    read.planned(&source.name, Some(at(160)))
}

fn under(sources: &[Arc<Source>]) -> Snapshot {
    known().under(roster(sources))
}

fn has_reading(snapshot: &Snapshot) -> bool {
    snapshot.entries()[0].reading.is_some()
}

#[test]
fn a_change_of_timing_keeps_the_reading_and_plans_anew() {
    let slower = under(&[fetched("a", vec![provider("p", ".")], 600 * SECOND)]);
    assert!(has_reading(&slower));
    assert_eq!(slower.next_attempt(0), Some(at(700)));
    assert_eq!(
        under(&[a(".")]).next_attempt(0),
        Some(at(160)),
        "nothing changed, so the plan stands"
    );
}

#[test]
fn another_request_keeps_the_reading_and_is_made_at_once() {
    let mut moved = provider("p", ".");
    moved.request.url = "http://127.0.0.1:2/".parse().unwrap();
    let snapshot = under(&[fetched("a", vec![moved, provider("q", ".")], 60 * SECOND)]);
    assert!(has_reading(&snapshot));
    assert_eq!(snapshot.next_attempt(0), None);
}

#[test]
fn another_filter_drops_the_reading_and_nobody_waits_for_a_new_one() {
    let snapshot = under(&[a(".x")]);
    assert!(!has_reading(&snapshot));
    assert!(snapshot.settled(0));
    assert_eq!(
        snapshot.state(0, at(101)).error.unwrap().code,
        Code::Pending
    );
}

#[test]
fn what_an_old_filter_brought_is_not_taken() {
    let snapshot = under(&[a(".x")]);
    let late = snapshot.merge(&success(&a("."), at(102)));
    assert!(!late.taken && !has_reading(&late.snapshot));
    assert!(snapshot.merge(&success(&a(".x"), at(102))).taken);
}

#[test]
fn what_rests_on_another_filter_is_another_value() {
    let sources = |extract| [a(extract), derived("a")];
    let before = known().under(roster(&sources(".")));
    let derivation = Derivation {
        identity: before.roster().identity(1),
        stamps: before.footing(1).unwrap(),
        at: at(101),
        took: SECOND,
        result: Ok(Data::from_checked("1")),
    };
    let computed = before.derive(&name("d"), &derivation);
    assert!(computed.derived_is_current(1));
    assert!(
        computed.under(roster(&sources("."))).entries()[1]
            .reading
            .is_some()
    );
    let after = computed.under(roster(&sources(".x")));
    assert!(after.entries()[1].reading.is_none());
    assert!(
        after.derive(&name("d"), &derivation).entries()[1]
            .reading
            .is_none(),
        "computed by the old one"
    );
}

#[test]
fn a_restart_is_a_pause_and_nothing_else() {
    let failed = Outcome {
        result: Err(Failure::new(Code::Timeout, "slow")),
        at: at(160),
        ..success(&a("."), at(160))
    };
    let before = known().merge(&failed).snapshot;
    let kept: Vec<_> = before
        .saved()
        .into_iter()
        .map(|saved| saved.moved(0, at(200)))
        .collect();
    let after = Snapshot::new(roster(&[a(".")])).restore(&kept);
    assert_eq!(after.state(0, at(200)), before.state(0, at(200)));
    assert_eq!(after.entries()[0].trail.failures, 1);
    assert!(after.settled(0));
    assert_eq!(
        after.next_attempt(0),
        None,
        "a start begins with attempts at all sources"
    );
    assert!(
        !has_reading(&Snapshot::new(roster(&[a(".x")])).restore(&kept)),
        "another filter"
    );
}

#[test]
fn restoring_never_replaces_what_is_newer() {
    let kept = known().saved();
    let newer = known().merge(&success(&a("."), at(150))).snapshot;
    assert_eq!(
        newer.restore(&kept).state(0, at(200)),
        newer.state(0, at(200))
    );
}

#[test]
fn no_reading_comes_from_the_future() {
    let kept: Vec<_> = known()
        .saved()
        .into_iter()
        .map(|saved| saved.moved(0, at(50)))
        .collect();
    let after = Snapshot::new(roster(&[a(".")])).restore(&kept);
    assert_eq!(
        after.entries()[0].reading.as_ref().unwrap().fetched_at,
        at(50)
    );
    assert_eq!(after.state(0, at(50)).freshness, Freshness::Fresh);
}

#[test]
fn a_wish_to_be_left_alone_outlives_the_restart() {
    let held = |until| {
        let failure = Failure::new(Code::RateLimited, "slow down");
        let one = Try {
            provider: name("p"),
            at: at(160),
            took: SECOND,
            end: End::Failed(failure.clone()),
            held_until: Some(until),
        };
        let failed = Outcome {
            result: Err(failure),
            tries: vec![one],
            ..success(&a("."), at(160))
        };
        let before = Snapshot::new(roster(&[a(".")])).merge(&failed).snapshot;
        let kept: Vec<_> = before
            .saved()
            .into_iter()
            .map(|saved| saved.moved(0, at(200)))
            .collect();
        Snapshot::new(roster(&[a(".")]))
            .restore(&kept)
            .next_attempt(0)
    };
    assert_eq!(held(at(400)), Some(at(400)));
    assert_eq!(
        held(at(99_999)),
        Some(at(200 + 15 * 60)),
        "15 minutes at most"
    );
}
