//! What the routes answer from.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Cache;
use crate::aggregate::LiveFetcher;
use crate::aggregate::LivenessBeat;
use crate::config;
use crate::domain::{Snapshot, Time};
use crate::process::Clock;
use crate::process::Supervisor;
use crate::replicas::LocalReplica;

use super::metrics_page::ProcessMetrics;
use super::stream::StreamClients;
use crate::metrics::FetchMetrics;
use crate::metrics::HttpMetrics;
use crate::panel::{PanelAssets, PanelHistory};
use crate::server::CorsPolicy;

/// What a site is made of.
pub struct AppStateParts {
    /// How to serve.
    pub settings: config::ServerSettings,
    /// Now.
    pub clock: Clock,
    /// What is known.
    pub cache: Arc<Cache>,
    /// Who answers live requests.
    pub live: Arc<LiveFetcher>,
    /// The refresher's sign of life.
    pub liveness_beat: Arc<LivenessBeat>,
    /// What the attempts are counted in.
    pub fetch_metrics: Arc<FetchMetrics>,
    /// What the rest of the program tells of itself.
    pub process_metrics: Arc<ProcessMetrics>,
    /// Keeps the accept loop and the serving threads going, and counts whatever had to be started again.
    pub supervisor: Supervisor,
    /// Whether the snapshot was restored, so that there is something to serve before the first round ends.
    pub was_restored: bool,
    /// This replica as one of several, if calls and readings are shared.
    pub replica: Option<Arc<LocalReplica>>,
}

/// Everything that the routes answer from. Shared by all serving threads.
pub struct AppState {
    pub(crate) settings: config::ServerSettings,
    pub(crate) clock: Clock,
    pub(crate) cache: Arc<Cache>,
    pub(crate) live: Arc<LiveFetcher>,
    pub(crate) liveness_beat: Arc<LivenessBeat>,
    pub(crate) fetch_metrics: Arc<FetchMetrics>,
    pub(crate) process_metrics: Arc<ProcessMetrics>,
    pub(crate) supervisor: Supervisor,
    pub(crate) cors: CorsPolicy,
    pub(crate) http_metrics: HttpMetrics,
    pub(crate) started_at: Time,
    pub(crate) panel_assets: PanelAssets,
    pub(crate) replica: Option<Arc<LocalReplica>>,
    pub(crate) panel_history: PanelHistory,
    was_restored: bool,
    /// Whether no source is waited for any more; from then on none ever is.
    is_first_round_done: AtomicBool,
    /// When it began to drain.
    drain_started_at: OnceLock<Instant>,
    drain_token: CancellationToken,
    /// Who listens to the stream.
    pub(crate) stream_clients: StreamClients,
}

impl AppState {
    /// A site that nobody has asked yet.
    pub fn new(parts: AppStateParts) -> Self {
        let AppStateParts {
            settings,
            clock,
            cache,
            live,
            liveness_beat: pulse,
            fetch_metrics: fetches,
            process_metrics: vitals,
            supervisor,
            was_restored: restored,
            replica: fleet,
        } = parts;
        Self {
            cors: CorsPolicy::new(&settings.cors_origins),
            http_metrics: HttpMetrics::default(),
            started_at: clock.now(),
            panel_assets: PanelAssets::new(),
            panel_history: PanelHistory::default(),
            is_first_round_done: AtomicBool::new(false),
            drain_started_at: OnceLock::new(),
            drain_token: CancellationToken::new(),
            stream_clients: StreamClients::default(),
            settings,
            clock,
            cache,
            live,
            liveness_beat: pulse,
            fetch_metrics: fetches,
            process_metrics: vitals,
            supervisor,
            replica: fleet,
            was_restored: restored,
        }
    }

    /// Whether `/resumen` can be answered without waiting for a first round.
    pub(crate) fn is_first_round_done(&self) -> bool {
        if self.is_first_round_done.load(Relaxed) {
            return true;
        }
        let snapshot = self.cache.snapshot();
        let settled = are_all_answerable(&snapshot, 0..snapshot.source_states().len());
        if settled {
            self.is_first_round_done.store(true, Relaxed);
        }
        settled
    }

    /// Whether there is something to serve.
    pub(crate) fn is_ready(&self) -> bool {
        self.was_restored || self.is_first_round_done()
    }

    /// Keeps the history that the panel's lines begin with, until `stop`.
    pub async fn record_history(&self, stop: &CancellationToken) {
        self.panel_history.record_changes(&self.cache, stop).await;
    }

    /// From now on it is not ready, streams end, and every answer is its connection's last.
    pub(crate) fn start_drain(&self) {
        self.drain_started_at.get_or_init(|| self.clock.instant());
        self.drain_token.cancel();
    }

    /// Waits until it drains.
    pub(crate) async fn wait_for_drain(&self) {
        self.drain_token.cancelled().await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_started_at.get().is_some()
    }

    /// When it began to drain, if it has.
    pub(crate) fn drain_started_at(&self) -> Option<Instant> {
        self.drain_started_at.get().copied()
    }
}

/// Whether none of these positions is left to wait for.
pub(crate) fn are_all_answerable(
    snapshot: &Snapshot,
    mut positions: impl Iterator<Item = usize>,
) -> bool {
    positions.all(|at| snapshot.is_ready_to_answer(at))
}
