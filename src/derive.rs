//! Floor 4: the task that computes derived sources at each swap that touches an input.
//!
//! Imports `domain`, `extract`, `cache` and `clock`. It never fetches. A filter that hangs costs its own source only:
//! it is given up after a moment and fails at once from then on.

use std::sync::Arc;
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
    /// Computes what is not current, then waits for the next swap, until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut swaps = self.cache.subscribe();
        loop {
            swaps.mark_unchanged();
            self.settle().await;
            tokio::select! {
                () = stop.cancelled() => return,
                swap = swaps.changed() => if swap.is_err() { return },
            }
        }
    }

    /// Computes in the order of the configuration until nothing more changes; a derived source may be an input of
    /// another, circles are refused by the configuration.
    async fn settle(&self) {
        loop {
            let snapshot = self.cache.snapshot();
            let outdated = (0..snapshot.entries().len()).find(|at| !snapshot.derived_is_current(*at));
            let Some(position) = outdated else { return };
            self.compute(&snapshot, position).await;
        }
    }

    async fn compute(&self, snapshot: &Snapshot, position: usize) {
        let source = &snapshot.entries()[position].source;
        let Kind::Derived { from, extract } = &source.kind else { return };
        let Some(stamps) = snapshot.footing(position) else { return };
        let began = self.clock.mark();
        let deadline = self.clock.deadline(LIMIT);
        let result = match self.extractor.filter(extract) {
            Ok(filter) => self.extractor.extract(&source.name, &filter, inputs(snapshot, from), deadline).await,
            Err(error) => Err(Failure::new(Code::ExtractFailed, error.message.as_str())),
        };
        let took = self.clock.since(began);
        let identity = snapshot.roster().identity(position);
        let derivation = Derivation { identity, stamps, at: began.time, took, result };
        tell(&snapshot.entries()[position], &derivation);
        self.cache.publish_derived(&source.name, &derivation);
    }
}

/// A change of health is told once, as for fetched sources.
fn tell(before: &Entry, derivation: &Derivation) {
    let source = before.source.name.as_str();
    match (before.failing(), &derivation.result) {
        (None, Err(failure)) => {
            warn!(source, code = failure.code.as_str(), error = &*failure.message, "source began to fail");
        }
        (Some(lapse), Ok(_)) => {
            let since = before.trail.failing_since.unwrap_or(lapse.at);
            info!(source, failed_for_s = derivation.at.since(since).as_secs(), "source recovered");
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
