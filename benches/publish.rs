//! Cost of publishing an outcome and of rendering the snapshot, for 3 to 3,000 sources.
//!
//! `cargo bench --bench publish`
#![allow(clippy::unwrap_used, reason = "a benchmark panics on errors")]

#[path = "../tests/support/scripted_fetch.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a test module, of which a benchmark uses a part"
)]
mod scripted_fetch;

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use resumen::aggregate::Cache;
use resumen::domain::{JsonData, Outcome, Reading, Snapshot, SourceIdentity, SourceSet, Time};
use resumen::process::SendBudget;
use resumen::render::{BodyForm, RenderMode, render_summary};

const SOURCES: &[usize] = &[3, 30, 300, 3000];

fn main() {
    divan::main();
}

fn outcome(source: usize, at: i64) -> Outcome {
    let at = Time::from_millis(at);
    let data = JsonData::from_checked(format!(r#"{{"usd":{},"eur":0.87598}}"#, at.as_millis()));
    let reading = Reading {
        fetched_at: at,
        provider: scripted_fetch::test_name("p"),
        data,
        extra_ttl: Duration::ZERO,
    };
    let source = scripted_fetch::test_source(
        &format!("s{source}"),
        &["p"],
        scripted_fetch::test_schedule(),
    );
    let identity = SourceIdentity::from_source(&source);
    Outcome {
        source: source.name.clone(),
        identity,
        started_at: at,
        duration: Duration::from_micros(84_213),
        result: Ok(reading),
        provider_attempts: Vec::new(),
    }
}

fn snapshot(sources: usize) -> Snapshot {
    let source_set = (0..sources)
        .map(|n| {
            scripted_fetch::test_source(&format!("s{n}"), &["p"], scripted_fetch::test_schedule())
        })
        .collect();
    let empty = Snapshot::new(Arc::new(SourceSet::new(source_set)));
    (0..sources).fold(empty, |snapshot, n| {
        snapshot.merge_outcome(&outcome(n, 1)).snapshot
    })
}

/// Merges an outcome into the snapshot, plans the next attempt, and swaps the snapshot.
#[divan::bench(args = SOURCES)]
fn publish(bencher: Bencher<'_, '_>, sources: usize) {
    let cache = Cache::new(
        snapshot(sources),
        Duration::from_secs(4),
        SendBudget::new(None),
    );
    let mut at = 1;
    bencher.bench_local(|| {
        at += 1;
        cache.publish(black_box(&outcome(0, at)), |_| None)
    });
}

/// Renders the body with its version and headers.
#[divan::bench(args = SOURCES)]
fn render_all(bencher: Bencher<'_, '_>, sources: usize) {
    let snapshot = snapshot(sources);
    let selection: Vec<usize> = (0..sources).collect();
    let mode = RenderMode::Snapshot {
        timeout: Duration::from_secs(4),
    };
    bencher.bench_local(|| {
        render_summary(
            black_box(&snapshot),
            &selection,
            &BodyForm::Summary,
            &mode,
            Time::from_millis(1000),
        )
    });
}

/// Publishes and renders: the cost of the first request after a publication.
#[divan::bench(args = SOURCES)]
fn publish_and_render(bencher: Bencher<'_, '_>, sources: usize) {
    let cache = Cache::new(
        snapshot(sources),
        Duration::from_secs(4),
        SendBudget::new(None),
    );
    let mut at = 1;
    bencher.bench_local(|| {
        at += 1;
        cache.publish(black_box(&outcome(0, at)), |_| None);
        cache.current_rendering(Time::from_millis(at))
    });
}

/// Reads the current rendering: the cost of every other request.
#[divan::bench(args = SOURCES)]
fn read(bencher: Bencher<'_, '_>, sources: usize) {
    let cache = Cache::new(
        snapshot(sources),
        Duration::from_secs(4),
        SendBudget::new(None),
    );
    bencher.bench_local(|| cache.current_rendering(black_box(Time::from_millis(5))));
}
