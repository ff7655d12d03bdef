//! The task that computes derived sources whenever one of their inputs changes.
//!
//! A filter that does not end in time fails its own source; the extractor cancels it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::{Code, DerivedComputation, Failure, Name, Snapshot, SourceKind, SourceState};
use crate::extract::Extractor;
use crate::process::Clock;

use super::cache::Cache;
use super::running_computation::RunningComputations;

/// Time limit of one computation.
const COMPUTE_TIMEOUT: Duration = Duration::from_millis(500);

/// The background task.
pub struct DerivedTask {
    /// Holds the inputs and receives the results.
    pub cache: Arc<Cache>,
    /// Runs the filters.
    pub extractor: Extractor,
    /// Dates the computations.
    pub clock: Clock,
}

impl DerivedTask {
    /// Computes outdated derived sources after each publication, until `stop` is cancelled.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut changes = self.cache.subscribe();
        let mut running = RunningComputations::default();
        loop {
            // Before the snapshot is read, so that a publication in between causes another round.
            changes.mark_unchanged();
            self.start_computations(&mut running);
            tokio::select! {
                () = stop.cancelled() => return,
                result = changes.changed() => if result.is_err() { return },
                () = running.wait_first_finished() => {}
            }
        }
    }

    /// Starts the computation of outdated sources in the order of the configuration. A source with a
    /// derived input waits until the input is current; the configuration rules out cycles.
    fn start_computations<'d>(&'d self, running: &mut RunningComputations<'d>) {
        let snapshot = self.cache.snapshot();
        let source_set = snapshot.source_set();
        let is_current = |name: &Name| {
            source_set
                .position(name.as_str())
                .is_none_or(|position| snapshot.is_derived_current(position))
        };
        for position in source_set.derived_positions() {
            let source = &source_set.sources()[position];
            let is_due =
                !snapshot.is_derived_current(position) && source.inputs().iter().all(is_current);
            if is_due && running.accepts(&source.name) {
                let snapshot = Arc::clone(&snapshot);
                running.push(source.name.clone(), async move {
                    self.compute_source(&snapshot, position).await;
                });
            }
        }
    }

    async fn compute_source(&self, snapshot: &Snapshot, position: usize) {
        let state = &snapshot.source_states()[position];
        let source = &state.source;
        let SourceKind::Derived { inputs, extract } = &source.kind else {
            return;
        };
        // Without a reading of every input there is nothing to compute. The answer then shows the
        // failure of the input.
        let Some(input_versions) = snapshot.current_input_versions(position) else {
            return;
        };
        let started = self.clock.time_point();
        let deadline = self.clock.deadline(COMPUTE_TIMEOUT);
        let result = match self.extractor.compile_filter(extract) {
            Ok(filter) => {
                let inputs = encode_inputs(snapshot, inputs);
                let extracted = self
                    .extractor
                    .extract(&source.name, &filter, inputs, deadline)
                    .await;
                extracted.and_then(|data| {
                    let checked = self.cache.check_memory(&source.name, &data);
                    checked.map(|()| data)
                })
            }
            Err(error) => Err(Failure::new(Code::ExtractFailed, error.message.as_str())),
        };
        let computation = DerivedComputation {
            identity: snapshot.source_set().identity(position),
            input_versions,
            computed_at: started.time,
            duration: self.clock.elapsed_since(started),
            result,
        };
        log_health_change(state, &computation);
        self.cache.publish_derived(&source.name, &computation);
    }
}

/// Logs the first failure after a success and the first success after failures, as for fetched
/// sources.
fn log_health_change(before: &SourceState, computation: &DerivedComputation) {
    let source = before.source.name.as_str();
    match (before.current_failure(), &computation.result) {
        (None, Err(failure)) => warn!(
            source,
            code = failure.code.as_str(),
            error = &*failure.message,
            "source failed"
        ),
        (Some(record), Ok(_)) => {
            let since = before.history.failing_since.unwrap_or(record.started_at);
            info!(
                source,
                failed_for_s = computation.computed_at.since(since).as_secs(),
                "source recovered"
            );
        }
        _ => {}
    }
}

/// Returns an object with the data of each input: `{"btc":…,"usd":…}`.
fn encode_inputs(snapshot: &Snapshot, inputs: &[Name]) -> Bytes {
    let members: Vec<String> = inputs
        .iter()
        .filter_map(|name| {
            let reading = snapshot.source_state(name.as_str())?.reading.as_ref()?;
            Some(format!("\"{name}\":{}", reading.data.as_json()))
        })
        .collect();
    format!("{{{}}}", members.join(",")).into()
}
