//! Metrics of the attempts at sources: results by provider, and durations.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::domain::{Code, Name, Outcome, ProviderAttemptResult, Snapshot};

use super::encoder::{MetricType, MetricsEncoder, bucket_index};

/// Upper bounds of the duration buckets, in microseconds.
const ATTEMPT_BOUNDS_US: [u64; 12] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// The finished attempts of every source. Locked once per attempt, never by a request for
/// `/resumen`.
#[derive(Debug, Default)]
pub struct FetchMetrics(Mutex<BTreeMap<Name, AttemptCounters>>);

/// The finished attempts of one source.
#[derive(Debug, Default)]
struct AttemptCounters {
    /// Requests by provider and failure code; `None` is success.
    results: BTreeMap<(Name, Option<Code>), u64>,
    duration_buckets: [u64; ATTEMPT_BOUNDS_US.len() + 1],
    total_micros: u64,
}

impl FetchMetrics {
    /// Counts a finished attempt.
    pub fn record_outcome(&self, outcome: &Outcome) {
        let mut sources = self.0.lock();
        let counters = sources.entry(outcome.source.clone()).or_default();
        for attempt in &outcome.provider_attempts {
            let code = match &attempt.result {
                ProviderAttemptResult::Succeeded => None,
                ProviderAttemptResult::Failed(failure) => Some(failure.code),
                // The race was won by another provider, so the result of this request is unknown.
                ProviderAttemptResult::Superseded => continue,
            };
            *counters
                .results
                .entry((attempt.provider.clone(), code))
                .or_default() += 1;
        }
        let micros = outcome.duration.as_micros() as u64;
        counters.duration_buckets[bucket_index(&ATTEMPT_BOUNDS_US, micros)] += 1;
        counters.total_micros += micros;
    }

    /// Writes the families of attempts, for the fetched sources of `snapshot`.
    pub(crate) fn write(&self, encoder: &mut MetricsEncoder, snapshot: &Snapshot) {
        let counters_by_source = self.0.lock();
        let zero = AttemptCounters::default();
        let fetched: Vec<_> = snapshot
            .source_states()
            .iter()
            .map(|state| &state.source)
            .filter(|source| source.schedule().is_some())
            .map(|source| {
                (
                    source,
                    counters_by_source.get(&source.name).unwrap_or(&zero),
                )
            })
            .collect();

        let name = "resumen_source_fetches_total";
        encoder.begin_family(
            name,
            MetricType::Counter,
            "Requests to providers by result: ok, or the code of the failure.",
        );
        for (source, counters) in &fetched {
            let mut write_result = |provider: &Name, result, count| {
                let labels = [
                    ("source", source.name.as_str()),
                    ("provider", provider.as_str()),
                    ("result", result),
                ];
                encoder.write_sample(name, &labels, count);
            };
            // A series must exist before its first increment, or `increase()` misses the first
            // success.
            for provider in source.providers() {
                let key = (provider.name.clone(), None);
                if !counters.results.contains_key(&key) {
                    write_result(&provider.name, "ok", 0);
                }
            }
            for ((provider, code), count) in &counters.results {
                write_result(provider, code.map_or("ok", Code::as_str), *count);
            }
        }

        let name = "resumen_source_fetch_duration_seconds";
        encoder.begin_family(name, MetricType::Histogram, "Duration of attempts.");
        for (source, counters) in &fetched {
            encoder.write_histogram(
                name,
                ("source", source.name.as_str()),
                &ATTEMPT_BOUNDS_US,
                &counters.duration_buckets,
                counters.total_micros,
            );
        }
    }
}
