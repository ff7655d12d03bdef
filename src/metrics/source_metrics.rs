//! Metrics of the state of each source, read from the snapshot.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::domain::{
    ClockShift, Freshness, Snapshot, SourceIdentity, SourceState, SourceView, Time,
};

use super::encoder::{millis_to_seconds, write_gauge};
use super::own_series::OwnSeries;
use super::source_numbers::SourceNumbers;
use super::value_metrics::ExtractedNumbers;

/// One source of the snapshot, as of the time of the page.
struct ObservedSource<'s> {
    clock_shift: ClockShift,
    state: &'s SourceState,
    identity: SourceIdentity,
    view: SourceView<'s>,
    consecutive_failures: u32,
}

/// Returns a gauge's value for a source; `None` leaves the sample out.
type GaugeValueFn = fn(&ObservedSource<'_>) -> Option<f64>;

/// Suffix, help and value of each gauge `resumen_source_*`.
const SOURCE_GAUGES: [(&str, &str, GaugeValueFn); 5] = [
    ("up", "Whether the latest attempt succeeded.", |source| {
        source.up_value()
    }),
    (
        "stale",
        "Whether the reading is older than its ttl, or missing.",
        |source| {
            Some(f64::from(u8::from(
                source.view.freshness != Freshness::Fresh,
            )))
        },
    ),
    (
        "last_success_timestamp_seconds",
        "When the request for the newest reading was sent, since the epoch.",
        |source| Some(source.seconds(source.state.reading.as_ref()?.fetched_at)),
    ),
    (
        "last_attempt_timestamp_seconds",
        "When the newest finished attempt began, since the epoch.",
        |source| Some(source.seconds(source.state.history.last_attempt?)),
    ),
    (
        "consecutive_failures",
        "Failed attempts since the last success.",
        |source| Some(f64::from(source.consecutive_failures)),
    ),
];

/// Writes the families that describe each source of `snapshot` at `now`.
pub(crate) fn write_source_metrics(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    numbers: &SourceNumbers,
    own_series: &OwnSeries,
    now: Time,
) -> fmt::Result {
    let sources = observe_sources(snapshot, now);
    for (suffix, help, value_of) in SOURCE_GAUGES {
        let name = format!("resumen_source_{suffix}");
        let mut family = begin_gauges(encoder, &name, help)?;
        for source in &sources {
            if let Some(value) = value_of(source) {
                let labels = [("source", source.name())];
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
    }
    write_failing_providers(encoder, &sources)?;
    write_values(encoder, &sources, numbers, now)?;
    write_metric_errors(encoder, &sources, own_series)?;
    let newest_attempt = sources
        .iter()
        .filter_map(|source| source.state.history.last_attempt)
        .max();
    write_gauge(
        encoder,
        "resumen_snapshot_timestamp_seconds",
        "When the newest attempt in the snapshot began, since the epoch; 0 if there is none.",
        newest_attempt.map_or(0.0, |time| seconds(time, snapshot.clock_shift())),
    )
}

fn observe_sources(snapshot: &Snapshot, now: Time) -> Vec<ObservedSource<'_>> {
    let states = snapshot.source_states().iter().enumerate();
    let observed = states.map(|(index, state)| ObservedSource {
        state,
        identity: snapshot.source_set().identity(index),
        clock_shift: snapshot.clock_shift(),
        view: snapshot.source_view(index, now),
        consecutive_failures: snapshot.failure_count(index),
    });
    observed.collect()
}

impl ObservedSource<'_> {
    /// Returns a time as it is output, in seconds since the epoch.
    fn seconds(&self, time: Time) -> f64 {
        seconds(time, self.clock_shift)
    }

    fn is_fresh(&self) -> bool {
        self.view.freshness == Freshness::Fresh
    }

    fn has_own_metrics(&self) -> bool {
        !self.state.source.metrics.is_empty()
    }

    /// The numbers of the reading; none if it is not fresh.
    fn fresh_numbers(&self, numbers: &SourceNumbers, now: Time) -> Arc<ExtractedNumbers> {
        match self.view.reading {
            Some(reading) if self.is_fresh() => {
                numbers.numbers_of(self.identity, reading.data, now)
            }
            _ => Arc::default(),
        }
    }

    fn name(&self) -> &str {
        self.state.source.name.as_str()
    }

    /// 1 if the latest attempt succeeded, 0 if it failed, `None` before the first one.
    fn up_value(&self) -> Option<f64> {
        // A derived source fails with its inputs, also before its first computation.
        let was_attempted =
            self.state.history.last_attempt.is_some() || self.consecutive_failures > 0;
        let is_failing = match self.state.source.schedule() {
            Some(_) => self.state.current_failure().is_some(),
            None => self.view.failure.is_some(),
        };
        was_attempted.then(|| f64::from(u8::from(!is_failing)))
    }
}

/// Writes one sample per provider that fails: when its failures began, and the code of the latest
/// one.
fn write_failing_providers(
    encoder: &mut DescriptorEncoder<'_>,
    sources: &[ObservedSource<'_>],
) -> fmt::Result {
    let mut family = begin_gauges(
        encoder,
        "resumen_provider_failing_since_timestamp_seconds",
        "When the failures of a provider began, by the code of the latest one, since the epoch.",
    )?;
    for source in sources {
        for (streak, failure) in source.state.failing_providers() {
            let labels = [
                ("source", source.name()),
                ("provider", streak.provider.as_str()),
                ("code", failure.code.as_str()),
            ];
            let since = source.seconds(streak.since);
            family.encode_family(&labels)?.encode_gauge(&since)?;
        }
    }
    Ok(())
}

/// Writes each number in the data of the fresh sources that have no metrics of their own. A stale value must not be
/// exported as current.
fn write_values(
    encoder: &mut DescriptorEncoder<'_>,
    sources: &[ObservedSource<'_>],
    numbers: &SourceNumbers,
    now: Time,
) -> fmt::Result {
    let mut family = begin_gauges(
        encoder,
        "resumen_value",
        "Each number in a source's data, from the cache, while it is fresh. \
         resumen_source_last_success_timestamp_seconds tells its age.",
    )?;
    for source in sources.iter().filter(|source| !source.has_own_metrics()) {
        for (path, number) in &source.fresh_numbers(numbers, now).by_path {
            let labels = [("source", source.name()), ("path", path)];
            family.encode_family(&labels)?.encode_gauge(number)?;
        }
    }
    Ok(())
}

/// Writes how many numbers, or series of own metrics, each fresh source has that are not exported. `repeated_counts` has
/// for each source how many of its own series equal one of another source.
pub(crate) fn write_left_out(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    numbers: &SourceNumbers,
    own_series: &OwnSeries,
    repeated_counts: &[usize],
    now: Time,
) -> fmt::Result {
    let mut family = begin_gauges(
        encoder,
        "resumen_values_left_out",
        "Numbers or own series of a source that are not exported, while it is fresh.",
    )?;
    let sources = observe_sources(snapshot, now);
    for (source, repeated_count) in sources.iter().zip(repeated_counts) {
        if !source.is_fresh() {
            continue;
        }
        let omitted_count = if source.has_own_metrics() {
            let series = own_series.fresh_series(source.state, now);
            series.map(|series| series.omitted_count + repeated_count)
        } else {
            Some(source.fresh_numbers(numbers, now).omitted_count)
        };
        if let Some(count) = omitted_count {
            let labels = [("source", source.name())];
            family.encode_family(&labels)?.encode_gauge(&count)?;
        }
    }
    Ok(())
}

/// Writes the failures of each source's own metrics.
fn write_metric_errors(
    encoder: &mut DescriptorEncoder<'_>,
    sources: &[ObservedSource<'_>],
    own_series: &OwnSeries,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "resumen_metric_errors",
        "Series of own metrics that were left out because a filter failed.",
        None,
        MetricType::Counter,
    )?;
    for source in sources {
        let mut seen = HashSet::new();
        for metric in source.state.source.metrics.iter() {
            // Several metrics may have one name.
            if seen.insert(&metric.name) {
                let count = own_series.error_count(&source.state.source.name, &metric.name);
                let labels = [("source", source.name()), ("metric", &metric.name)];
                let mut sample = family.encode_family(&labels)?;
                sample.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
    }
    Ok(())
}

/// Writes the head of a family of gauges with labels.
fn begin_gauges<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn seconds(time: Time, shift: ClockShift) -> f64 {
    millis_to_seconds(shift.apply(time).as_millis())
}
