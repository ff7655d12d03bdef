//! Floor 4: the task that computes derived sources at each swap that touches an input.
//!
//! Imports `domain`, `extract`, `cache` and `clock`. It never fetches. A filter that hangs costs its own source only:
//! it is given up after a moment and fails at once from then on.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cache::Cache;
use crate::domain::{Code, DerivedComputation, Failure, Name, Snapshot, SourceKind, SourceState};
use crate::extract::Extractor;
use crate::process::Clock;

/// The most that one computation may take.
const COMPUTE_TIMEOUT: Duration = Duration::from_millis(500);

/// Computations at once: one that takes long must not keep the others waiting.
const MAX_CONCURRENT: usize = 8;

/// One that has begun.
struct RunningComputation<'d> {
    source: Name,
    future: Pin<Box<dyn Future<Output = ()> + Send + 'd>>,
}

/// The background task.
pub struct DerivedTask {
    /// Where inputs are read and results are published.
    pub cache: Arc<Cache>,
    /// Who runs the filters.
    pub extractor: Extractor,
    /// Now.
    pub clock: Clock,
}

impl DerivedTask {
    /// Computes what is not current at each swap, until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut swaps = self.cache.subscribe();
        let mut running = Vec::new();
        loop {
            swaps.mark_unchanged();
            self.start_computations(&mut running);
            tokio::select! {
                () = stop.cancelled() => return,
                swap = swaps.changed() => if swap.is_err() { return },
                () = wait_first_finished(&mut running), if !running.is_empty() => {}
            }
        }
    }

    /// Begins with what is not current, in the order of the configuration. A derived source may be an input of another,
    /// which waits for it; circles are refused by the configuration.
    fn start_computations<'d>(&'d self, running: &mut Vec<RunningComputation<'d>>) {
        let snapshot = self.cache.snapshot();
        let roster = snapshot.source_set();
        let is_current = |name: &Name| {
            roster
                .position(name.as_str())
                .is_none_or(|at| snapshot.is_derived_current(at))
        };
        for (position, source) in roster.sources().iter().enumerate() {
            let due =
                !snapshot.is_derived_current(position) && source.inputs().iter().all(is_current);
            if due
                && running.len() < MAX_CONCURRENT
                && running.iter().all(|one| one.source != source.name)
            {
                let snapshot = Arc::clone(&snapshot);
                let work = Box::pin(async move { self.compute_source(&snapshot, position).await });
                running.push(RunningComputation {
                    source: source.name.clone(),
                    future: work,
                });
            }
        }
    }

    async fn compute_source(&self, snapshot: &Snapshot, position: usize) {
        let source = &snapshot.source_states()[position].source;
        let SourceKind::Derived {
            inputs: from,
            extract,
        } = &source.kind
        else {
            return;
        };
        let Some(stamps) = snapshot.current_input_versions(position) else {
            return;
        };
        let began = self.clock.time_point();
        let deadline = self.clock.deadline(COMPUTE_TIMEOUT);
        let result = match self.extractor.compile_filter(extract) {
            Ok(filter) => {
                self.extractor
                    .extract(
                        &source.name,
                        &filter,
                        encode_inputs(snapshot, from),
                        deadline,
                    )
                    .await
            }
            Err(error) => Err(Failure::new(Code::ExtractFailed, error.message.as_str())),
        };
        let took = self.clock.elapsed_since(began);
        let identity = snapshot.source_set().identity(position);
        let derivation = DerivedComputation {
            identity,
            input_versions: stamps,
            computed_at: began.time,
            duration: took,
            result,
        };
        log_health_change(&snapshot.source_states()[position], &derivation);
        self.cache.publish_derived(&source.name, &derivation);
    }
}

/// Ends with the first of them that does.
async fn wait_first_finished(running: &mut Vec<RunningComputation<'_>>) {
    poll_fn(|cx| {
        match running
            .iter_mut()
            .position(|one| one.future.as_mut().poll(cx).is_ready())
        {
            Some(at) => {
                running.remove(at);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    })
    .await;
}

/// A change of health is told once, as for fetched sources.
fn log_health_change(before: &SourceState, derivation: &DerivedComputation) {
    let source = before.source.name.as_str();
    match (before.current_failure(), &derivation.result) {
        (None, Err(failure)) => {
            warn!(
                source,
                code = failure.code.as_str(),
                error = &*failure.message,
                "source began to fail"
            );
        }
        (Some(lapse), Ok(_)) => {
            let since = before.history.failing_since.unwrap_or(lapse.started_at);
            info!(
                source,
                failed_for_s = derivation.computed_at.since(since).as_secs(),
                "source recovered"
            );
        }
        _ => {}
    }
}

/// `{"btc":…,"usd":…}`
fn encode_inputs(snapshot: &Snapshot, from: &[Name]) -> Bytes {
    let member = |name: &Name| {
        let reading = snapshot.source_state(name.as_str())?.reading.as_ref()?;
        Some(format!("\"{name}\":{}", reading.data.as_json()))
    };
    let members: Vec<String> = from.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(",")).into()
}
