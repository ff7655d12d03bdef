//! Metrics of the attempts at sources: results by provider, and durations.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::histogram::Histogram;

use crate::domain::{Code, Name, Outcome, ProviderAttemptResult, Snapshot};

/// Upper bounds of the duration buckets, in seconds.
const ATTEMPT_BOUNDS_S: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The finished attempts of every source. Locked once per attempt, never by a request for
/// `/resumen`.
#[derive(Debug, Default)]
pub struct FetchMetrics(Mutex<BTreeMap<Name, AttemptCounters>>);

/// The finished attempts of one source.
#[derive(Debug)]
struct AttemptCounters {
    /// Requests by provider and failure code; `None` is success.
    results: BTreeMap<(Name, Option<Code>), u64>,
    durations: Histogram,
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
        counters.durations.observe(outcome.duration.as_secs_f64());
    }

    /// Writes the families of attempts, for the fetched sources of `snapshot`.
    pub(crate) fn write(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        snapshot: &Snapshot,
    ) -> fmt::Result {
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

        let mut family = encoder.encode_descriptor(
            "resumen_source_fetches",
            "Requests to providers by result: ok, or the code of the failure.",
            None,
            MetricType::Counter,
        )?;
        for (source, counters) in &fetched {
            let mut write_result = |provider: &Name, result, count| {
                let labels = [
                    ("source", source.name.as_str()),
                    ("provider", provider.as_str()),
                    ("result", result),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)
            };
            // A series must exist before its first increment, or `increase()` misses the first
            // success.
            for provider in source.providers() {
                let key = (provider.name.clone(), None);
                if !counters.results.contains_key(&key) {
                    write_result(&provider.name, "ok", 0)?;
                }
            }
            for ((provider, code), count) in &counters.results {
                write_result(provider, code.map_or("ok", Code::as_str), *count)?;
            }
        }

        let mut family = encoder.encode_descriptor(
            "resumen_source_fetch_duration_seconds",
            "Duration of attempts.",
            None,
            MetricType::Histogram,
        )?;
        for (source, counters) in &fetched {
            let labels = [("source", source.name.as_str())];
            counters.durations.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Default for AttemptCounters {
    fn default() -> Self {
        Self {
            results: BTreeMap::new(),
            durations: Histogram::new(ATTEMPT_BOUNDS_S),
        }
    }
}
