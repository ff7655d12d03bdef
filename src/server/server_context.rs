//! The state that the acceptor, the workers and the handlers share: settings, cache, metrics and
//! lifecycle.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Cache;
use crate::config::{AccessToken, ServerSettings, ServerTls};
use crate::metrics::{RequestMetrics, RouteId};
use crate::process::{Clock, Supervisor};
use crate::render::Rendering;
use crate::telemetry::AccessLog;

use super::access_control::AccessControl;
use super::access_record::AccessRecord;
use super::client_limit::ClientLimit;
use super::cors::CorsPolicy;
use super::descriptor_limit::{ConnectionLimits, connection_limits};
use super::host_policy::HostPolicy;
use super::route_access::RouteAccess;
use super::tls::build_server_config;
use super::trusted_proxies::TrustedProxies;

/// Returns the rendering that answers a GET of a target with these headers, if that takes little time;
/// `None` leaves the request to the router.
pub type FindRenderingFn = fn(&ServerContext, &str, &HeaderMap) -> Option<Arc<Rendering>>;

/// Shared state of the HTTP server.
pub struct ServerContext {
    pub(crate) settings: ServerSettings,
    pub(crate) connection_limits: ConnectionLimits,
    pub(crate) clock: Clock,
    pub(crate) cache: Arc<Cache>,
    pub(crate) request_metrics: Arc<RequestMetrics>,
    /// Restarts the accept loop and the workers after a panic.
    pub(crate) supervisor: Supervisor,
    pub(crate) cors: CorsPolicy,
    pub(super) hosts: HostPolicy,
    pub(crate) access: AccessControl,
    pub(super) trusted_proxies: Arc<TrustedProxies>,
    pub(super) client_limit: Arc<ClientLimit>,
    access_log: Option<AccessLog>,
    /// By route, in the order of the routes of `request_metrics`.
    route_access: &'static [RouteAccess],
    find_rendering: FindRenderingFn,
    /// Whether every source has a reading or a finished attempt. Never reset: a source added later
    /// is not waited for.
    first_round_done: AtomicBool,
    /// Set once, when the drain begins.
    drain_started_at: OnceLock<Instant>,
    drain_token: CancellationToken,
    /// `None`: plain text.
    tls: RwLock<Option<Arc<ServerConfig>>>,
}

impl ServerContext {
    /// The context of a server that has not begun to drain. `route_access` has one item per route of
    /// `request_metrics`.
    pub fn new(
        settings: ServerSettings,
        clock: Clock,
        cache: Arc<Cache>,
        request_metrics: Arc<RequestMetrics>,
        supervisor: Supervisor,
        route_access: &'static [RouteAccess],
        find_rendering: FindRenderingFn,
    ) -> Self {
        let trusted_proxies = TrustedProxies::new(settings.trusted_proxies.clone());
        let trusted_proxies = Arc::new(trusted_proxies);
        Self {
            cors: CorsPolicy::new(&settings.cors_origins),
            hosts: HostPolicy::new(&settings.hosts),
            access: AccessControl::new(&settings),
            client_limit: ClientLimit::new(settings.max_per_client, Arc::clone(&trusted_proxies)),
            trusted_proxies,
            route_access,
            access_log: None,
            find_rendering,
            connection_limits: connection_limits(&settings),
            settings,
            clock,
            cache,
            request_metrics,
            supervisor,
            first_round_done: AtomicBool::new(false),
            drain_started_at: OnceLock::new(),
            drain_token: CancellationToken::new(),
            tls: RwLock::default(),
        }
    }

    /// Whether `/resumen` can be answered from the snapshot without waiting for the first attempts.
    pub(crate) fn is_first_round_done(&self) -> bool {
        if self.first_round_done.load(Relaxed) {
            return true;
        }
        let snapshot = self.cache.snapshot();
        let is_done = (0..snapshot.source_states().len()).all(|at| snapshot.is_ready_to_answer(at));
        if is_done {
            self.first_round_done.store(true, Relaxed);
        }
        is_done
    }

    /// The rendering for the fast path.
    pub(super) fn find_rendering(
        &self,
        target: &str,
        headers: &HeaderMap,
    ) -> Option<Arc<Rendering>> {
        (self.find_rendering)(self, target, headers)
    }

    /// Who may request a route.
    pub(super) fn access_of(&self, route: RouteId) -> RouteAccess {
        let known = self.route_access.get(route.index());
        known.copied().unwrap_or(RouteAccess::UNMATCHED)
    }

    /// Sets the log of requests.
    #[must_use]
    pub fn with_access_log(mut self, access_log: Option<AccessLog>) -> Self {
        self.access_log = access_log;
        self
    }

    /// Whether each request is logged.
    pub(super) fn logs_requests(&self) -> bool {
        self.access_log.is_some()
    }

    /// Logs a request.
    pub(super) fn log_request(&self, record: &AccessRecord<'_>) {
        if let Some(log) = &self.access_log {
            log.write_line(record.to_json());
        }
    }

    /// Replaces the tokens of clients.
    pub fn replace_tokens(&self, tokens: &[AccessToken]) {
        self.access.replace_tokens(tokens);
    }

    /// Replaces the certificate of the server and the authorities of its clients. Connections keep theirs.
    /// Fails, without a change, if rustls does not support one.
    pub fn replace_tls(&self, settings: Option<&ServerTls>) -> anyhow::Result<()> {
        let config = settings.map(build_server_config).transpose()?;
        let requires_certificate = settings.is_some_and(|tls| tls.client_ca_pem.is_some());
        *self.tls.write() = config;
        self.access.require_certificate(requires_certificate);
        Ok(())
    }

    /// The configuration of TLS; `None` for plain text.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.read().clone()
    }

    /// Begins the drain: readiness fails, event streams end, and every response closes its
    /// connection.
    pub(super) fn start_drain(&self) {
        self.drain_started_at.get_or_init(|| self.clock.instant());
        self.drain_token.cancel();
    }

    /// Waits until the drain begins.
    pub(crate) async fn wait_for_drain(&self) {
        self.drain_token.cancelled().await;
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain_started_at.get().is_some()
    }

    /// When the drain began; `None` before it.
    pub(super) fn drain_started_at(&self) -> Option<Instant> {
        self.drain_started_at.get().copied()
    }
}
