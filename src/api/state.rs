//! The state that the handlers share.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::aggregate::{LiveFetcher, LivenessBeat};
use crate::metrics::FetchMetrics;
use crate::panel::{PanelAssets, PanelHistory};
use crate::replicas::LocalReplica;
use crate::server::ServerContext;

use super::service_collector::ServiceCollector;
use super::stream_clients::StreamClients;

/// The arguments of [`AppState::new`].
pub struct AppStateParts {
    /// Settings, clock, cache and lifecycle of the HTTP server.
    pub server: Arc<ServerContext>,
    /// Fetches the sources of live requests.
    pub live: Arc<LiveFetcher>,
    /// The refresher's liveness beat.
    pub liveness_beat: Arc<LivenessBeat>,
    /// Metrics of the attempts at sources.
    pub fetch_metrics: Arc<FetchMetrics>,
    /// The registry with every metric that is not read from the members above.
    pub metrics_registry: Registry,
    /// Whether readings were restored at the start, so that the first round need not be waited for.
    pub was_restored: bool,
    /// This replica, if readings are shared with others.
    pub replica: Option<Arc<LocalReplica>>,
}

/// State of the handlers. Shared by all workers.
pub struct AppState {
    pub(super) server: Arc<ServerContext>,
    pub(super) live: Arc<LiveFetcher>,
    pub(super) liveness_beat: Arc<LivenessBeat>,
    pub(super) metrics_registry: Registry,
    pub(super) replica: Option<Arc<LocalReplica>>,
    pub(super) panel_assets: PanelAssets,
    pub(super) panel_history: PanelHistory,
    pub(super) stream_clients: StreamClients,
    was_restored: bool,
}

impl AppState {
    /// The state before the first request.
    pub fn new(parts: AppStateParts) -> Self {
        let stream_clients = StreamClients::default();
        let mut metrics_registry = parts.metrics_registry;
        metrics_registry.register_collector(Box::new(ServiceCollector {
            server: Arc::clone(&parts.server),
            fetch_metrics: parts.fetch_metrics,
            stream_clients: stream_clients.clone(),
            replica: parts.replica.clone(),
        }));
        Self {
            server: parts.server,
            live: parts.live,
            liveness_beat: parts.liveness_beat,
            metrics_registry,
            replica: parts.replica,
            panel_assets: PanelAssets::new(),
            panel_history: PanelHistory::default(),
            stream_clients,
            was_restored: parts.was_restored,
        }
    }

    /// Whether there is data to serve: restored readings, or a finished first round.
    pub(super) fn is_ready(&self) -> bool {
        self.was_restored || self.server.is_first_round_done()
    }

    /// Records the history of the panel's charts until `stop` is cancelled.
    pub async fn record_history(&self, stop: &CancellationToken) {
        self.panel_history
            .record_changes(&self.server.cache, stop)
            .await;
    }
}
