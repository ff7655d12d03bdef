//! The task that evaluates the sources' own metrics, once for each reading.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::{
    MetricFailure, MetricResults, Name, Reading, SourceMetric, SourceSet, SourceState,
};
use crate::extract::{Extractor, MetricPrograms};
use crate::metrics::{MetricChange, OwnSeries};
use crate::process::Clock;

use super::cache::Cache;
use super::running_computation::RunningComputations;

/// The background task.
pub struct MetricTask {
    cache: Arc<Cache>,
    extractor: Extractor,
    clock: Clock,
    series: Arc<OwnSeries>,
    programs: Mutex<HashMap<Name, CompiledMetrics>>,
}

/// The metrics of a source and their programs.
#[derive(Clone)]
struct CompiledMetrics {
    metrics: Arc<[SourceMetric]>,
    programs: Arc<MetricPrograms>,
}

impl MetricTask {
    /// A task that evaluates the readings of `cache` and puts their series into `series`.
    pub fn new(
        cache: Arc<Cache>,
        extractor: Extractor,
        clock: Clock,
        series: Arc<OwnSeries>,
    ) -> Self {
        Self {
            cache,
            extractor,
            clock,
            series,
            programs: Mutex::default(),
        }
    }

    /// Evaluates new readings after each publication, until `stop` is cancelled.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut changes = self.cache.subscribe();
        let mut running = RunningComputations::default();
        let mut source_set = Arc::default();
        loop {
            // Before the snapshot is read, so that a publication in between causes another round.
            changes.mark_unchanged();
            self.start_evaluations(&mut running, &mut source_set);
            tokio::select! {
                () = stop.cancelled() => return,
                result = changes.changed() => if result.is_err() { return },
                () = running.wait_first_finished() => {}
            }
        }
    }

    fn start_evaluations<'t>(
        &'t self,
        running: &mut RunningComputations<'t>,
        source_set: &mut Arc<SourceSet>,
    ) {
        let snapshot = self.cache.snapshot();
        if !Arc::ptr_eq(source_set, snapshot.source_set()) {
            *source_set = Arc::clone(snapshot.source_set());
            self.series.retain_sources(source_set);
            let is_known = |name: &Name| source_set.position(name.as_str()).is_some();
            self.programs.lock().retain(|name, _| is_known(name));
        }
        for state in snapshot.source_states() {
            let source = &state.source;
            let Some(reading) = state
                .reading
                .as_ref()
                .filter(|_| !source.metrics.is_empty())
            else {
                continue;
            };
            if running.accepts(&source.name)
                && !self
                    .series
                    .is_current(&source.name, &source.metrics, reading)
            {
                let (state, reading) = (Arc::clone(state), Arc::clone(reading));
                running.push(source.name.clone(), async move {
                    self.evaluate_source(&state, &reading).await;
                });
            }
        }
    }

    async fn evaluate_source(&self, state: &SourceState, reading: &Reading) {
        let source = &state.source;
        let results = match self.compile_metrics(&source.name, &source.metrics) {
            Ok(programs) => {
                self.extractor
                    .evaluate_metrics(&source.name, &programs, &reading.data, self.clock)
                    .await
            }
            Err(message) => fail_all(&source.metrics, &message),
        };
        let now = self.clock.now();
        let change = self
            .series
            .replace(&source.name, &source.metrics, reading, results, now);
        log_change(&source.name, &change);
    }

    /// Returns the programs of a source's metrics, compiled once.
    fn compile_metrics(
        &self,
        source: &Name,
        metrics: &Arc<[SourceMetric]>,
    ) -> Result<Arc<MetricPrograms>, String> {
        let mut known = self.programs.lock();
        if let Some(compiled) = known.get(source).filter(|known| known.metrics == *metrics) {
            return Ok(Arc::clone(&compiled.programs));
        }
        let programs = MetricPrograms::compile(metrics).map_err(|(_, error)| error.message)?;
        let compiled = CompiledMetrics {
            metrics: Arc::clone(metrics),
            programs: Arc::new(programs),
        };
        let programs = Arc::clone(&compiled.programs);
        known.insert(source.clone(), compiled);
        Ok(programs)
    }
}

/// The results of metrics whose programs do not compile. The configuration rules it out.
fn fail_all(metrics: &[SourceMetric], message: &str) -> MetricResults {
    let failures = (0..metrics.len()).map(|metric| MetricFailure {
        metric,
        count: 1,
        message: message.to_owned(),
    });
    MetricResults {
        failures: failures.collect(),
        ..MetricResults::default()
    }
}

/// Logs when metrics of a source begin to fail, and when none fails any more.
fn log_change(source: &Name, change: &MetricChange) {
    let source = source.as_str();
    match change {
        MetricChange::Unchanged => {}
        MetricChange::Failed {
            metric,
            failure,
            failing_count,
        } => warn!(
            source,
            metric = &**metric,
            error = failure.message,
            series = failure.count,
            failing_metrics = failing_count,
            "metric failed"
        ),
        MetricChange::Recovered => info!(source, "metrics recovered"),
    }
}
