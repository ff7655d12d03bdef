//! The state that the handlers share.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::aggregate::{LiveFetcher, LiveResult, LivenessBeat, Selection};
use crate::metrics::{FetchMetrics, OwnSeries, SourceNumbers};
use crate::panel::{PanelAssets, PanelHistory};
use crate::process::{Deadline, WorkQueueFull};
use crate::render::{BodyForm, Rendering};
use crate::replicas::LocalReplica;
use crate::server::{ProblemDetails, ServerContext};

use super::background_work::BackgroundWork;
use super::document_cache::DocumentCache;
use super::metrics_encoder::MetricsEncoder;
use super::service_collector::ServiceCollector;
use super::shared_pages::{PageKind, SharedPages};
use super::shared_renderings::{ROOM_WAIT, SharedRenderings, wait_for_room};
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
    /// The series of the sources' own metrics.
    pub own_series: Arc<OwnSeries>,
    /// The registry with every metric that is not read from the members above.
    pub metrics_registry: Registry,
    /// Whether readings were restored at the start, so that the first round need not be waited for.
    pub was_restored: bool,
    /// This replica, if readings are shared with others.
    pub replica: Option<Arc<LocalReplica>>,
    /// The runtime of background threads.
    pub runtime: Handle,
}

/// State of the handlers. Shared by all workers.
pub struct AppState {
    pub(super) server: Arc<ServerContext>,
    pub(super) live: Arc<LiveFetcher>,
    pub(super) liveness_beat: Arc<LivenessBeat>,
    /// Shared with the threads that encode them.
    pub(super) metrics_encoder: Arc<MetricsEncoder>,
    pub(super) replica: Option<Arc<LocalReplica>>,
    pub(super) panel_assets: PanelAssets,
    /// Shared with the threads that record and serialise it.
    pub(super) panel_history: Arc<PanelHistory>,
    pub(super) stream_clients: StreamClients,
    pub(super) background_work: BackgroundWork,
    pub(super) openapi_document: DocumentCache,
    pub(super) appearance_document: DocumentCache,
    pub(super) panel_policy: DocumentCache,
    pages: SharedPages,
    renderings: SharedRenderings,
    was_restored: bool,
}

impl AppState {
    /// The state before the first request.
    pub fn new(parts: AppStateParts) -> Self {
        let stream_clients = StreamClients::default();
        let source_numbers = Arc::<SourceNumbers>::default();
        let mut metrics_registry = parts.metrics_registry;
        metrics_registry.register_collector(Box::new(ServiceCollector {
            server: Arc::clone(&parts.server),
            fetch_metrics: parts.fetch_metrics,
            source_numbers: Arc::clone(&source_numbers),
            own_series: Arc::clone(&parts.own_series),
            stream_clients: stream_clients.clone(),
            replica: parts.replica.clone(),
        }));
        let metrics_encoder = MetricsEncoder::new(
            metrics_registry,
            &parts.server,
            &parts.own_series,
            &source_numbers,
        );
        Self {
            server: parts.server,
            live: parts.live,
            liveness_beat: parts.liveness_beat,
            metrics_encoder: Arc::new(metrics_encoder),
            replica: parts.replica,
            panel_assets: PanelAssets::new(),
            panel_history: Arc::new(PanelHistory::new(source_numbers)),
            stream_clients,
            background_work: BackgroundWork::new(&parts.runtime),
            openapi_document: DocumentCache::default(),
            appearance_document: DocumentCache::default(),
            panel_policy: DocumentCache::default(),
            pages: SharedPages::default(),
            renderings: SharedRenderings::default(),
            was_restored: parts.was_restored,
        }
    }

    /// Whether there is data to serve: restored readings, or a finished first round.
    pub(super) fn is_ready(&self) -> bool {
        self.was_restored || self.server.is_first_round_done()
    }

    /// A valid rendering of `selection` from the snapshot.
    pub(super) async fn render_snapshot(
        &self,
        selection: &Selection,
    ) -> Result<Arc<Rendering>, WorkQueueFull> {
        self.renderings
            .render_snapshot(&self.server, &self.background_work, selection)
            .await
    }

    /// The rendering of a live answer in this form.
    pub(super) async fn render_live(
        &self,
        result: LiveResult,
        form: &BodyForm,
        deadline: Deadline,
    ) -> Result<Arc<Rendering>, ProblemDetails> {
        self.renderings
            .render_live(&self.server, &self.background_work, result, form, deadline)
            .await
    }

    /// The page that `make` returns, for all requests that wait for it.
    pub(super) async fn get_or_make_page<F>(
        &self,
        kind: PageKind,
        make: F,
    ) -> Result<Option<Bytes>, WorkQueueFull>
    where
        F: FnOnce() -> Option<String> + Send + 'static,
    {
        let (queue, clock) = (&self.background_work.pages, self.server.clock);
        let budget = Arc::clone(self.server.cache.send_budget());
        wait_for_room(&budget, ROOM_WAIT).await?;
        let make = move || make().map(|page| budget.share(page));
        self.pages.get_or_make(queue, clock, kind, make).await
    }

    /// Records the history of the panel's charts until `stop` is cancelled.
    pub async fn record_history(&self, stop: &CancellationToken) {
        self.panel_history
            .record_changes(&self.server.cache, self.server.clock, stop)
            .await;
    }
}
