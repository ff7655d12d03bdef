//! The series of the sources: from the snapshot, and from the counts of their attempts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::{Code, End, Entry, Freshness, Name, Outcome, Snapshot, State, Time};

use super::exposition::{Page, Type};
use super::metrics::seconds;
use super::numbers::{Numbers, numbers};

/// Upper bounds of the duration buckets, in microseconds.
const BOUNDS: [u64; 12] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Attempts as they ended, by source. One step per attempt, far from any request.
#[derive(Debug, Default)]
pub struct Fetches(Mutex<BTreeMap<Name, Attempts>>);

#[derive(Debug, Default)]
struct Attempts {
    /// By provider and result; none is success.
    results: BTreeMap<(Name, Option<Code>), u64>,
    buckets: [u64; BOUNDS.len() + 1],
    micros: u64,
}

impl Fetches {
    /// Counts the end of an attempt.
    pub fn note(&self, outcome: &Outcome) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = sources.entry(outcome.source.clone()).or_default();
        for one in &outcome.tries {
            let code = match &one.end {
                End::Won => None,
                End::Failed(failure) => Some(failure.code),
                // Neither a success nor a failure: nobody knows what it would have become.
                End::Outrun => continue,
            };
            *attempts
                .results
                .entry((one.provider.clone(), code))
                .or_default() += 1;
        }
        let micros = outcome.took.as_micros() as u64;
        attempts.buckets[BOUNDS
            .iter()
            .position(|bound| micros <= *bound)
            .unwrap_or(BOUNDS.len())] += 1;
        attempts.micros += micros;
    }
}

/// Adds the families of the sources.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot, fetches: &Fetches, now: Time) {
    let known = snapshot
        .entries()
        .iter()
        .enumerate()
        .map(|(at, entry)| Known {
            entry,
            state: snapshot.state(at, now),
            failures: snapshot.failures(at),
        });
    let known: Vec<Known<'_>> = known.collect();
    gauges(page, &known);
    failing_providers(page, &known);
    attempts(page, snapshot, fetches);
    values(page, &known);
    let newest = known.iter().filter_map(|one| one.entry.trail.last).max();
    let newest = newest.map_or(0.0, |time| seconds(time.as_millis()));
    let help =
        "When the newest attempt in the snapshot began, since the epoch; 0 if there is none.";
    page.single(
        "resumen_snapshot_timestamp_seconds",
        Type::Gauge,
        help,
        newest,
    );
}

/// What is known of one source.
struct Known<'s> {
    entry: &'s Entry,
    state: State<'s>,
    failures: u32,
}

/// What a gauge shows of a source; none leaves the sample out.
type Show = fn(&Known<'_>) -> Option<f64>;

fn gauges(page: &mut Page, all: &[Known<'_>]) {
    let families: [(&str, &str, Show); 5] = [
        ("up", "Whether the latest attempt succeeded.", up),
        (
            "stale",
            "Whether the reading is older than its ttl, or missing.",
            |known| {
                Some(f64::from(u8::from(
                    known.state.freshness != Freshness::Fresh,
                )))
            },
        ),
        (
            "last_success_timestamp_seconds",
            "When the newest reading was asked for, since the epoch.",
            |known| {
                known
                    .entry
                    .reading
                    .as_ref()
                    .map(|reading| seconds(reading.fetched_at.as_millis()))
            },
        ),
        (
            "last_attempt_timestamp_seconds",
            "When the newest finished attempt began, since the epoch.",
            |known| known.entry.trail.last.map(|time| seconds(time.as_millis())),
        ),
        (
            "consecutive_failures",
            "Failed attempts since the last success.",
            |known| Some(f64::from(known.failures)),
        ),
    ];
    for (name, help, show) in families {
        let name = format!("resumen_source_{name}");
        page.family(&name, Type::Gauge, help);
        for known in all {
            if let Some(value) = show(known) {
                page.sample(
                    &name,
                    &[("source", known.entry.source.name.as_str())],
                    value,
                );
            }
        }
    }
}

/// A derived source whose input fails has failed too, even if it was never computed.
fn up(known: &Known<'_>) -> Option<f64> {
    let tried = known.entry.trail.last.is_some() || known.failures > 0;
    let failing = match known.entry.source.pace() {
        Some(_) => known.entry.failing().is_some(),
        None => known.state.error.is_some(),
    };
    tried.then(|| f64::from(u8::from(!failing)))
}

/// Who is broken, why, and since when, in one line.
fn failing_providers(page: &mut Page, all: &[Known<'_>]) {
    let name = "resumen_provider_failing_since_timestamp_seconds";
    let help = "When the failures began of a provider that gave no reading since, by the latest one's code.";
    page.family(name, Type::Gauge, help);
    for known in all {
        for (streak, failure) in known.entry.broken() {
            let labels = [
                ("source", known.entry.source.name.as_str()),
                ("provider", streak.provider.as_str()),
                ("code", failure.code.as_str()),
            ];
            page.sample(name, &labels, seconds(streak.since.as_millis()));
        }
    }
}

fn attempts(page: &mut Page, snapshot: &Snapshot, fetches: &Fetches) {
    let counted = fetches.0.lock().unwrap_or_else(PoisonError::into_inner);
    let none = Attempts::default();
    let asked = snapshot
        .entries()
        .iter()
        .map(|entry| &entry.source)
        .filter(|source| source.pace().is_some());
    let known = || {
        asked
            .clone()
            .map(|source| (source, counted.get(&source.name).unwrap_or(&none)))
    };
    let total = "resumen_source_fetches_total";
    page.family(
        total,
        Type::Counter,
        "Requests to providers by result: ok, or the code of the failure.",
    );
    for (source, attempts) in known() {
        let mut sample = |provider: &Name, result, count| {
            let labels = [
                ("source", source.name.as_str()),
                ("provider", provider.as_str()),
                ("result", result),
            ];
            page.sample(total, &labels, count);
        };
        // Successes are there from the start, so that the first one is seen as a step.
        for provider in source.providers() {
            if !attempts
                .results
                .contains_key(&(provider.name.clone(), None))
            {
                sample(&provider.name, "ok", 0);
            }
        }
        for ((provider, code), count) in &attempts.results {
            sample(provider, code.map_or("ok", Code::as_str), *count);
        }
    }
    let durations = "resumen_source_fetch_duration_seconds";
    page.family(durations, Type::Histogram, "How long attempts took.");
    for (source, attempts) in known() {
        page.histogram(
            durations,
            ("source", source.name.as_str()),
            &BOUNDS,
            &attempts.buckets,
            attempts.micros,
        );
    }
}

/// Each number in the data of a fresh source. A stale one is never shown as if it were current.
fn values(page: &mut Page, all: &[Known<'_>]) {
    let fresh = all
        .iter()
        .filter(|known| known.state.freshness == Freshness::Fresh);
    let read = fresh.filter_map(|known| {
        Some((
            known.entry.source.name.as_str(),
            numbers(known.state.reading?.data),
        ))
    });
    let read: Vec<(&str, Numbers)> = read.collect();
    let name = "resumen_value";
    page.family(
        name,
        Type::Gauge,
        "Each number in a source's data, while it is fresh.",
    );
    for (source, numbers) in &read {
        for (path, number) in &numbers.found {
            page.sample(name, &[("source", source), ("path", path)], number);
        }
    }
    let name = "resumen_values_left_out";
    page.family(
        name,
        Type::Gauge,
        "Numbers in a source's data that are no resumen_value, while it is fresh.",
    );
    for (source, numbers) in &read {
        page.sample(name, &[("source", source)], numbers.left_out);
    }
}
