//! The series of the sources: from the snapshot, and from the counts of their attempts.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::domain::{
    Code, Freshness, Name, Outcome, ProviderAttemptResult, Snapshot, SourceState, SourceView, Time,
};

use super::encoder::{MetricType, MetricsEncoder};
use super::value_metrics::{ExtractedNumbers, collect_numbers};
use crate::api::millis_to_seconds;

/// Upper bounds of the duration buckets, in microseconds.
const ATTEMPT_BOUNDS_US: [u64; 12] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Attempts as they ended, by source. One step per attempt, far from any request.
#[derive(Debug, Default)]
pub struct FetchMetrics(Mutex<BTreeMap<Name, AttemptCounters>>);

#[derive(Debug, Default)]
struct AttemptCounters {
    /// By provider and result; none is success.
    results: BTreeMap<(Name, Option<Code>), u64>,
    duration_buckets: [u64; ATTEMPT_BOUNDS_US.len() + 1],
    total_micros: u64,
}

impl FetchMetrics {
    /// Counts the end of an attempt.
    pub fn record_outcome(&self, outcome: &Outcome) {
        let mut sources = self.0.lock();
        let attempts = sources.entry(outcome.source.clone()).or_default();
        for one in &outcome.provider_attempts {
            let code = match &one.result {
                ProviderAttemptResult::Succeeded => None,
                ProviderAttemptResult::Failed(failure) => Some(failure.code),
                // Neither a success nor a failure: nobody knows what it would have become.
                ProviderAttemptResult::Superseded => continue,
            };
            *attempts
                .results
                .entry((one.provider.clone(), code))
                .or_default() += 1;
        }
        let micros = outcome.duration.as_micros() as u64;
        attempts.duration_buckets[ATTEMPT_BOUNDS_US
            .iter()
            .position(|bound| micros <= *bound)
            .unwrap_or(ATTEMPT_BOUNDS_US.len())] += 1;
        attempts.total_micros += micros;
    }
}

/// Adds the families of the sources.
pub(crate) fn write_source_metrics(
    page: &mut MetricsEncoder,
    snapshot: &Snapshot,
    fetches: &FetchMetrics,
    now: Time,
) {
    let known = snapshot
        .source_states()
        .iter()
        .enumerate()
        .map(|(at, entry)| ObservedSource {
            entry,
            state: snapshot.source_view(at, now),
            consecutive_failures: snapshot.failure_count(at),
        });
    let known: Vec<ObservedSource<'_>> = known.collect();
    write_gauges(page, &known);
    write_failing_providers(page, &known);
    write_attempts(page, snapshot, fetches);
    write_values(page, &known);
    let newest = known
        .iter()
        .filter_map(|one| one.entry.history.last_attempt)
        .max();
    let newest = newest.map_or(0.0, |time| millis_to_seconds(time.as_millis()));
    let help =
        "When the newest attempt in the snapshot began, since the epoch; 0 if there is none.";
    page.write_metric(
        "resumen_snapshot_timestamp_seconds",
        MetricType::Gauge,
        help,
        newest,
    );
}

/// What is known of one source.
struct ObservedSource<'s> {
    entry: &'s SourceState,
    state: SourceView<'s>,
    consecutive_failures: u32,
}

/// What a gauge shows of a source; none leaves the sample out.
type GaugeValueFn = fn(&ObservedSource<'_>) -> Option<f64>;

fn write_gauges(page: &mut MetricsEncoder, all: &[ObservedSource<'_>]) {
    let families: [(&str, &str, GaugeValueFn); 5] = [
        ("up", "Whether the latest attempt succeeded.", up_value),
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
                    .map(|reading| millis_to_seconds(reading.fetched_at.as_millis()))
            },
        ),
        (
            "last_attempt_timestamp_seconds",
            "When the newest finished attempt began, since the epoch.",
            |known| {
                known
                    .entry
                    .history
                    .last_attempt
                    .map(|time| millis_to_seconds(time.as_millis()))
            },
        ),
        (
            "consecutive_failures",
            "Failed attempts since the last success.",
            |known| Some(f64::from(known.consecutive_failures)),
        ),
    ];
    for (name, help, show) in families {
        let name = format!("resumen_source_{name}");
        page.begin_family(&name, MetricType::Gauge, help);
        for known in all {
            if let Some(value) = show(known) {
                page.write_sample(
                    &name,
                    &[("source", known.entry.source.name.as_str())],
                    value,
                );
            }
        }
    }
}

/// A derived source whose input fails has failed too, even if it was never computed.
fn up_value(known: &ObservedSource<'_>) -> Option<f64> {
    let tried = known.entry.history.last_attempt.is_some() || known.consecutive_failures > 0;
    let failing = match known.entry.source.schedule() {
        Some(_) => known.entry.current_failure().is_some(),
        None => known.state.failure.is_some(),
    };
    tried.then(|| f64::from(u8::from(!failing)))
}

/// Who is broken, why, and since when, in one line.
fn write_failing_providers(page: &mut MetricsEncoder, all: &[ObservedSource<'_>]) {
    let name = "resumen_provider_failing_since_timestamp_seconds";
    let help = "When the failures began of a provider that gave no reading since, by the latest one's code.";
    page.begin_family(name, MetricType::Gauge, help);
    for known in all {
        for (streak, failure) in known.entry.failing_providers() {
            let labels = [
                ("source", known.entry.source.name.as_str()),
                ("provider", streak.provider.as_str()),
                ("code", failure.code.as_str()),
            ];
            page.write_sample(name, &labels, millis_to_seconds(streak.since.as_millis()));
        }
    }
}

fn write_attempts(page: &mut MetricsEncoder, snapshot: &Snapshot, fetches: &FetchMetrics) {
    let counted = fetches.0.lock();
    let none = AttemptCounters::default();
    let asked = snapshot
        .source_states()
        .iter()
        .map(|entry| &entry.source)
        .filter(|source| source.schedule().is_some());
    let known = || {
        asked
            .clone()
            .map(|source| (source, counted.get(&source.name).unwrap_or(&none)))
    };
    let total = "resumen_source_fetches_total";
    page.begin_family(
        total,
        MetricType::Counter,
        "Requests to providers by result: ok, or the code of the failure.",
    );
    for (source, attempts) in known() {
        let mut sample = |provider: &Name, result, count| {
            let labels = [
                ("source", source.name.as_str()),
                ("provider", provider.as_str()),
                ("result", result),
            ];
            page.write_sample(total, &labels, count);
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
    page.begin_family(durations, MetricType::Histogram, "How long attempts took.");
    for (source, attempts) in known() {
        page.write_histogram(
            durations,
            ("source", source.name.as_str()),
            &ATTEMPT_BOUNDS_US,
            &attempts.duration_buckets,
            attempts.total_micros,
        );
    }
}

/// Each number in the data of a fresh source. A stale one is never shown as if it were current.
fn write_values(page: &mut MetricsEncoder, all: &[ObservedSource<'_>]) {
    let fresh = all
        .iter()
        .filter(|known| known.state.freshness == Freshness::Fresh);
    let read = fresh.filter_map(|known| {
        Some((
            known.entry.source.name.as_str(),
            collect_numbers(known.state.reading?.data),
        ))
    });
    let read: Vec<(&str, ExtractedNumbers)> = read.collect();
    let name = "resumen_value";
    page.begin_family(
        name,
        MetricType::Gauge,
        "Each number in a source's data, while it is fresh.",
    );
    for (source, numbers) in &read {
        for (path, number) in &numbers.by_path {
            page.write_sample(name, &[("source", source), ("path", path)], number);
        }
    }
    let name = "resumen_values_left_out";
    page.begin_family(
        name,
        MetricType::Gauge,
        "Numbers in a source's data that are no resumen_value, while it is fresh.",
    );
    for (source, numbers) in &read {
        page.write_sample(name, &[("source", source)], numbers.omitted_count);
    }
}
