//! The series of the metrics that sources export under names of the operator's choice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::{
    Freshness, JsonData, MetricFailure, MetricResults, MetricSeries, Name, Reading, SourceMetric,
    SourceSet, SourceState, Time,
};

use super::path_admission::PathAdmission;

/// The series of all sources, by the names of the sources.
#[derive(Debug, Default)]
pub struct OwnSeries(Mutex<HashMap<Name, SeriesOfSource>>);

/// The series of one source.
#[derive(Debug)]
struct SeriesOfSource {
    /// The metrics that the series belong to.
    metrics: Arc<[SourceMetric]>,
    /// The reading that the series were made of.
    data: JsonData,
    fetched_at: Time,
    exported: Arc<ExportedSeries>,
    failures: Vec<MetricFailure>,
    admission: PathAdmission,
    /// Failures since the start, by the names of the metrics.
    error_counts: HashMap<Arc<str>, u64>,
}

/// The series of one reading.
#[derive(Debug, Default)]
pub(super) struct ExportedSeries {
    /// Each with its identity, in the order of the configuration, without equal ones.
    pub(super) series: Vec<(MetricSeries, String)>,
    /// How many series were left out.
    pub(super) omitted_count: usize,
}

/// How the failures of a source's metrics changed with a reading.
#[derive(Debug, PartialEq, Eq)]
pub enum MetricChange {
    /// The same metrics fail, or fewer.
    Unchanged,
    /// Metrics fail that did not before.
    Failed {
        /// The first of them.
        metric: Arc<str>,
        /// Its failure.
        failure: MetricFailure,
        /// Number of metrics that fail.
        failing_count: usize,
    },
    /// No metric fails any more.
    Recovered,
}

impl OwnSeries {
    /// Whether the series of the source are those of `reading` by `metrics`, so that no filter need be evaluated.
    pub fn is_current(
        &self,
        source: &Name,
        metrics: &Arc<[SourceMetric]>,
        reading: &Reading,
    ) -> bool {
        let mut sources = self.0.lock();
        let known = sources.get_mut(source);
        let Some(known) = known.filter(|known| {
            known.is_of(metrics)
                && (known.data.is_same(&reading.data) || known.data == reading.data)
        }) else {
            return false;
        };
        known.metrics = Arc::clone(metrics);
        known.data = reading.data.clone();
        known.fetched_at = reading.fetched_at;
        true
    }

    /// Replaces the series of the source by `results`, which `metrics` gave for `reading`. Of equal series the first one
    /// stays. Series with labels are admitted slowly, as a provider chooses the values.
    pub fn replace(
        &self,
        source: &Name,
        metrics: &Arc<[SourceMetric]>,
        reading: &Reading,
        results: MetricResults,
        now: Time,
    ) -> MetricChange {
        let mut sources = self.0.lock();
        let known = sources.remove(source);
        let (admission, mut error_counts, failures) = match known {
            // Other metrics have other positions.
            Some(known) if !known.is_of(metrics) => {
                (known.admission, known.error_counts, Vec::new())
            }
            Some(known) => (known.admission, known.error_counts, known.failures),
            None => (PathAdmission::new(now), HashMap::new(), Vec::new()),
        };
        let change = compare_failures(metrics, &failures, &results.failures);
        let mut omitted_count = results.omitted_count;
        for failure in &results.failures {
            let name = Arc::clone(&metrics[failure.metric].name);
            *error_counts.entry(name).or_default() += failure.count;
            omitted_count += usize::try_from(failure.count).unwrap_or(usize::MAX);
        }
        let mut newest = SeriesOfSource {
            metrics: Arc::clone(metrics),
            data: reading.data.clone(),
            fetched_at: reading.fetched_at,
            exported: Arc::default(),
            failures: results.failures,
            admission,
            error_counts,
        };
        let all = results.series.len();
        let series = newest.select_series(results.series, now);
        newest.exported = Arc::new(ExportedSeries {
            omitted_count: omitted_count + all - series.len(),
            series,
        });
        sources.insert(source.clone(), newest);
        change
    }

    /// Forgets the sources that are not in `source_set`.
    pub fn retain_sources(&self, source_set: &SourceSet) {
        self.0
            .lock()
            .retain(|name, _| source_set.position(name.as_str()).is_some());
    }

    /// The series of a source whose reading is fresh at `now`. `None` until they are known.
    pub(super) fn fresh_series(
        &self,
        state: &SourceState,
        now: Time,
    ) -> Option<Arc<ExportedSeries>> {
        let reading = state.reading.as_ref()?;
        let sources = self.0.lock();
        let known = sources.get(&state.source.name)?;
        // While the filters of a newer reading run, the series are those of the one before, if that is fresh, too.
        let is_fresh = known.data.is_same(&reading.data)
            || state.freshness_policy().freshness_at(known.fetched_at, now) == Freshness::Fresh;
        (is_fresh && known.is_of(&state.source.metrics)).then(|| Arc::clone(&known.exported))
    }

    /// The failures of a metric of the source since the start.
    pub(super) fn error_count(&self, source: &Name, metric: &str) -> u64 {
        let sources = self.0.lock();
        let counts = sources.get(source).map(|known| &known.error_counts);
        counts
            .and_then(|counts| counts.get(metric))
            .copied()
            .unwrap_or_default()
    }
}

impl SeriesOfSource {
    fn is_of(&self, metrics: &Arc<[SourceMetric]>) -> bool {
        Arc::ptr_eq(&self.metrics, metrics) || self.metrics == *metrics
    }

    /// The series that are exported, each with its identity.
    fn select_series(&mut self, all: Vec<MetricSeries>, now: Time) -> Vec<(MetricSeries, String)> {
        let mut seen = HashSet::new();
        let identified = all.into_iter().map(|series| {
            let identity = series.identity(&self.metrics);
            (series, identity)
        });
        let mut series: Vec<_> = identified
            .filter(|(_, identity)| seen.insert(identity.clone()))
            .collect();
        let metrics = &self.metrics;
        // A series without labels is the configuration's: there is at most one for each metric.
        self.admission
            .retain_admitted(&mut series, now, |(series, identity)| {
                let has_labels = !metrics[series.metric].labels.is_empty();
                has_labels.then_some(identity)
            });
        series
    }
}

/// Compares the failures of a source's metrics with those of the reading before.
fn compare_failures(
    metrics: &[SourceMetric],
    before: &[MetricFailure],
    now: &[MetricFailure],
) -> MetricChange {
    let is_new =
        |failure: &&MetricFailure| before.iter().all(|known| known.metric != failure.metric);
    match now.iter().find(is_new) {
        Some(failure) => MetricChange::Failed {
            metric: Arc::clone(&metrics[failure.metric].name),
            failure: failure.clone(),
            failing_count: now.len(),
        },
        None if now.is_empty() && !before.is_empty() => MetricChange::Recovered,
        None => MetricChange::Unchanged,
    }
}
