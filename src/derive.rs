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

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::{Code, Derivation, Entry, Failure, Kind, Name, Snapshot};
use crate::extract::Extractor;

/// The most that one computation may take.
const LIMIT: Duration = Duration::from_millis(500);

/// Computations at once: one that takes long must not keep the others waiting.
const AT_ONCE: usize = 8;

/// One that has begun.
struct Computation<'d> {
    source: Name,
    work: Pin<Box<dyn Future<Output = ()> + Send + 'd>>,
}

/// The background task.
pub struct Deriver {
    /// Where inputs are read and results are published.
    pub cache: Arc<Cache>,
    /// Who runs the filters.
    pub extractor: Extractor,
    /// Now.
    pub clock: Clock,
}

impl Deriver {
    /// Computes what is not current at each swap, until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut swaps = self.cache.subscribe();
        let mut running = Vec::new();
        loop {
            swaps.mark_unchanged();
            self.begin(&mut running);
            tokio::select! {
                () = stop.cancelled() => return,
                swap = swaps.changed() => if swap.is_err() { return },
                () = first_end(&mut running), if !running.is_empty() => {}
            }
        }
    }

    /// Begins with what is not current, in the order of the configuration. A derived source may be an input of another,
    /// which waits for it; circles are refused by the configuration.
    fn begin<'d>(&'d self, running: &mut Vec<Computation<'d>>) {
        let snapshot = self.cache.snapshot();
        let roster = snapshot.roster();
        let is_current = |name: &Name| {
            roster
                .position(name.as_str())
                .is_none_or(|at| snapshot.derived_is_current(at))
        };
        for (position, source) in roster.sources().iter().enumerate() {
            let due =
                !snapshot.derived_is_current(position) && source.inputs().iter().all(is_current);
            if due && running.len() < AT_ONCE && running.iter().all(|one| one.source != source.name)
            {
                let snapshot = Arc::clone(&snapshot);
                let work = Box::pin(async move { self.compute(&snapshot, position).await });
                running.push(Computation {
                    source: source.name.clone(),
                    work,
                });
            }
        }
    }

    async fn compute(&self, snapshot: &Snapshot, position: usize) {
        let source = &snapshot.entries()[position].source;
        let Kind::Derived { from, extract } = &source.kind else {
            return;
        };
        let Some(stamps) = snapshot.footing(position) else {
            return;
        };
        let began = self.clock.mark();
        let deadline = self.clock.deadline(LIMIT);
        let result = match self.extractor.filter(extract) {
            Ok(filter) => {
                self.extractor
                    .extract(&source.name, &filter, inputs(snapshot, from), deadline)
                    .await
            }
            Err(error) => Err(Failure::new(Code::ExtractFailed, error.message.as_str())),
        };
        let took = self.clock.since(began);
        let identity = snapshot.roster().identity(position);
        let derivation = Derivation {
            identity,
            stamps,
            at: began.time,
            took,
            result,
        };
        tell(&snapshot.entries()[position], &derivation);
        self.cache.publish_derived(&source.name, &derivation);
    }
}

/// Ends with the first of them that does.
async fn first_end(running: &mut Vec<Computation<'_>>) {
    poll_fn(|cx| {
        match running
            .iter_mut()
            .position(|one| one.work.as_mut().poll(cx).is_ready())
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
fn tell(before: &Entry, derivation: &Derivation) {
    let source = before.source.name.as_str();
    match (before.failing(), &derivation.result) {
        (None, Err(failure)) => {
            warn!(
                source,
                code = failure.code.as_str(),
                error = &*failure.message,
                "source began to fail"
            );
        }
        (Some(lapse), Ok(_)) => {
            let since = before.trail.failing_since.unwrap_or(lapse.at);
            info!(
                source,
                failed_for_s = derivation.at.since(since).as_secs(),
                "source recovered"
            );
        }
        _ => {}
    }
}

/// `{"btc":…,"usd":…}`
fn inputs(snapshot: &Snapshot, from: &[Name]) -> Bytes {
    let member = |name: &Name| {
        let reading = snapshot.entry(name.as_str())?.reading.as_ref()?;
        Some(format!("\"{name}\":{}", reading.data.as_json()))
    };
    let members: Vec<String> = from.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(",")).into()
}
