//! The service: the core, the HTTP server and their lifecycle.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api::{AppState, AppStateParts, ROUTE_ACCESS, ROUTE_PATHS, find_rendering, router};
use crate::auth::AuthorizedFetch;
use crate::config::{Config, ListenAddress};
use crate::domain::Redactor;
use crate::extract::Extractor;
use crate::fetch::{Fetch, HttpFetch};
use crate::metrics::{FetchMetrics, OwnSeries, ProcessMetrics, RequestMetrics, StoreErrorCounter};
use crate::process::{BackgroundPriority, Clock, SendBudget};
use crate::replicas::{RedisStore, SharedStore};
use crate::server::{HttpListeners, HttpServer, ServerContext, SocketFile};
use crate::store::StateFile;
use crate::telemetry::AccessLog;

use super::core::{AppCore, CoreDeps};
use super::reload::ConfigReloader;

/// Threads for flights and background tasks. They mostly wait for the network; the second one keeps
/// deadlines while a handshake or a large merge occupies the first.
const FLIGHT_THREADS: usize = 2;

/// The part of `shutdown_grace` that is kept for the end of the tasks and the last save.
const FINAL_SAVE_RESERVE: Duration = Duration::from_millis(500);

/// How long the start waits for the time of the store that replicas share.
const STORE_CLOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// The clock offset from which a warning is logged.
const CLOCK_OFFSET_WARN_MS: u64 = 1000;

/// What a service is started with, beside its configuration.
pub struct ServiceOptions {
    /// The sockets that it accepts connections on.
    pub listeners: HttpListeners,
    /// The clock, which the log uses too.
    pub clock: Clock,
    /// The commit that the program was built from, or an empty text.
    pub revision: &'static str,
    /// Replaces secrets in every message and log line; a reload updates its secrets.
    pub redactor: Redactor,
    /// The program of the filter workers; [`crate::extract::own_program`] but in tests.
    pub filter_program: PathBuf,
}

/// A running service. [`AppService::stop`] drains it; dropping it stops it at once.
pub struct AppService {
    /// The aggregator.
    pub core: Arc<AppCore>,
    reloader: ConfigReloader,
    address: ListenAddress,
    admin_address: Option<ListenAddress>,
    /// Removes the files of Unix sockets when the service has stopped.
    _socket_files: Vec<SocketFile>,
    shutdown_grace: Duration,
    drain: CancellationToken,
    stop: CancellationToken,
    tracker: TaskTracker,
    server_task: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
    accept_runtime: Option<Runtime>,
}

impl AppService {
    /// Starts to fetch and to serve.
    pub fn start(config: &Config, options: ServiceOptions) -> anyhow::Result<Self> {
        let options = ServiceOptions {
            clock: synchronize_clock(config, options.clock, &options.redactor)?,
            ..options
        };
        let fetch = HttpFetch::new(options.clock, options.redactor.clone());
        fetch.set_max_per_host(config.max_per_host);
        Self::with_fetch(config, options, fetch)
    }

    /// Starts to serve, and to fetch through `fetch`.
    pub fn with_fetch(
        config: &Config,
        options: ServiceOptions,
        fetch: HttpFetch,
    ) -> anyhow::Result<Self> {
        let ServiceOptions {
            mut listeners,
            clock,
            revision,
            redactor,
            filter_program,
        } = options;
        let (address, admin_address) = listeners.addresses();
        let socket_files = listeners.take_socket_files();

        // Build: the registry and the metrics first, then what counts in them.
        let runtime = build_flight_runtime()?;
        let (stop, drain) = (CancellationToken::new(), CancellationToken::new());
        let tracker = TaskTracker::new();
        let fetch_metrics = Arc::new(FetchMetrics::default());
        let own_series = Arc::<OwnSeries>::default();
        let mut registry = Registry::default();
        let process_metrics = ProcessMetrics::register(&mut registry, clock, revision);
        let fetch = Arc::new(fetch);
        let extractor = Extractor::new(filter_program, redactor.clone());
        extractor.set_filters(config.filters.clone());
        let tasks = (tracker.clone(), clock);
        let authorized_fetch = build_authorized_fetch(config, &fetch, &extractor, &redactor, tasks);
        let deps = CoreDeps {
            fetch: Arc::clone(&authorized_fetch) as Arc<dyn Fetch>,
            extractor: extractor.clone(),
            clock,
            runtime: runtime.handle().clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            fetch_metrics: Arc::clone(&fetch_metrics),
            own_series: Arc::clone(&own_series),
            state_file: open_state_file(config, &process_metrics),
            shared_store: open_shared_store(config, &process_metrics, &redactor),
            send_budget: SendBudget::new(config.server.send_budget),
        };

        // Spawn: the core, then the server that reads from it.
        let timeout = config.server.default_timeout;
        let core = Arc::new(AppCore::start(deps, &config.sources, timeout)?);
        let request_metrics = RequestMetrics::register(&mut registry, &ROUTE_PATHS);
        let access_log = start_access_log(config, &redactor)?;
        let context = build_server_context(config, &core, request_metrics, access_log);
        let metrics = (fetch_metrics, own_series, registry);
        let state = build_app_state(&context, &core, metrics, runtime.handle());
        spawn_history_task(&core, &state);
        let threads = available_parallelism().map_or(1, NonZero::get);
        let (accept_runtime, server_task) =
            start_http_server(listeners, &context, &router(state), threads, &drain)?;
        log_addresses(&address, admin_address.as_ref(), threads);
        Ok(Self {
            reloader: ConfigReloader {
                core: Arc::clone(&core),
                process_metrics,
                extractor,
                fetch,
                authorized_fetch,
                redactor,
                server: context,
            },
            core,
            address,
            admin_address,
            _socket_files: socket_files,
            shutdown_grace: config.server.shutdown_grace,
            drain,
            stop,
            tracker,
            server_task: Some(server_task),
            runtime: Some(runtime),
            accept_runtime: Some(accept_runtime),
        })
    }

    /// Returns the listening address. Port 0 of the configuration has become the actual port.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Returns the address of `admin_listen`, with the actual port.
    pub fn admin_address(&self) -> Option<&ListenAddress> {
        self.admin_address.as_ref()
    }

    /// Returns the runtime of flights and background tasks.
    pub fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }

    /// Returns the interface that applies another configuration.
    pub fn reloader(&self) -> ConfigReloader {
        self.reloader.clone()
    }

    /// Drains the service and stops it: within `shutdown_grace`, or at once when `force_stop` is
    /// cancelled. Blocks; panics on a thread of a runtime.
    pub fn stop(mut self, force_stop: &CancellationToken) {
        let (Some(runtime), Some(server_task)) = (self.runtime.take(), self.server_task.take())
        else {
            return;
        };
        runtime.block_on(async {
            tokio::select! {
                () = force_stop.cancelled() => {}
                () = self.drain_and_save(server_task) => {}
            }
        });
        runtime.shutdown_background();
        // The other runtime ends with `self`.
        info!("stopped");
    }

    /// Stops accepting, waits for requests in progress, ends the tasks, saves: in this order, since
    /// requests wait for flights and flights change the state that is saved.
    async fn drain_and_save(&self, server_task: JoinHandle<()>) {
        let end = self.core.clock.deadline(self.shutdown_grace).at;
        let reserve = FINAL_SAVE_RESERVE.min(self.shutdown_grace / 4);
        self.drain.cancel();
        if timeout_at(end - reserve, server_task).await.is_err() {
            warn!(grace = ?self.shutdown_grace, "connections closed at the end of the grace period");
        }
        self.stop.cancel();
        self.tracker.close();
        // A task that ignores the token, or a disk that hangs, ends with the process.
        let _ = timeout_at(end - reserve / 2, self.tracker.wait()).await;
        let _ = timeout_at(end, self.core.save_state()).await;
    }
}

impl Drop for AppService {
    fn drop(&mut self) {
        self.drain.cancel();
        self.stop.cancel();
        let runtimes = [self.runtime.take(), self.accept_runtime.take()];
        for runtime in runtimes.into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// Starts the server and the runtime of its accept loops, whose thread has the priority of the serving
/// ones: while new connections wait, a health check waits with them.
fn start_http_server(
    listeners: HttpListeners,
    context: &Arc<ServerContext>,
    router: &Router,
    threads: usize,
    drain: &CancellationToken,
) -> anyhow::Result<(Runtime, JoinHandle<()>)> {
    context
        .replace_tls(context.settings.tls.as_ref())
        .context("server.tls")?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("accept")
        .enable_all()
        .build()
        .context("failed to start the runtime of the accept loops")?;
    // The reactor of this runtime watches the listeners.
    let guard = runtime.enter();
    let server = HttpServer::start(listeners, Arc::clone(context), router, threads)
        .context("failed to start the serving threads")?;
    drop(guard);
    let task = runtime.spawn(server.run(drain.clone()));
    Ok((runtime, task))
}

fn log_addresses(address: &ListenAddress, admin: Option<&ListenAddress>, threads: usize) {
    info!(address = %address, threads, "listening");
    if let Some(address) = admin {
        info!(address = %address, "listening for operators");
    }
}

/// Returns the runtime of flights and background tasks, whose threads yield to the serving ones.
fn build_flight_runtime() -> anyhow::Result<Runtime> {
    let priority = BackgroundPriority::below_process();
    Builder::new_multi_thread()
        .worker_threads(FLIGHT_THREADS)
        .thread_name("flights")
        .on_thread_start(move || priority.apply_to_current_thread())
        .enable_all()
        .build()
        .context("failed to start the runtime of flights")
}

fn build_authorized_fetch(
    config: &Config,
    fetch: &Arc<HttpFetch>,
    extractor: &Extractor,
    redactor: &Redactor,
    (tracker, clock): (TaskTracker, Clock),
) -> Arc<AuthorizedFetch> {
    let fetch = Arc::clone(fetch) as Arc<dyn Fetch>;
    let authorized =
        AuthorizedFetch::new(fetch, extractor.clone(), redactor.clone(), clock, tracker);
    authorized.replace_auths(&config.auths);
    Arc::new(authorized)
}

fn open_state_file(
    config: &Config,
    metrics: &ProcessMetrics,
) -> Option<(StateFile, StoreErrorCounter)> {
    let path = config.store.path.as_deref()?;
    Some((StateFile::new(path), metrics.store_error_counter("file")))
}

fn open_shared_store(
    config: &Config,
    metrics: &ProcessMetrics,
    redactor: &Redactor,
) -> Option<(Arc<dyn SharedStore>, StoreErrorCounter)> {
    let store = RedisStore::new(&config.store, redactor.clone())?;
    Some((Arc::new(store), metrics.store_error_counter("redis")))
}

fn build_app_state(
    context: &Arc<ServerContext>,
    core: &AppCore,
    (fetch_metrics, own_series, metrics_registry): (Arc<FetchMetrics>, Arc<OwnSeries>, Registry),
    runtime: &Handle,
) -> Arc<AppState> {
    Arc::new(AppState::new(AppStateParts {
        server: Arc::clone(context),
        live: Arc::clone(&core.live),
        liveness_beat: Arc::clone(&core.liveness_beat),
        fetch_metrics,
        own_series,
        metrics_registry,
        was_restored: core.was_restored,
        replica: core.replica.clone(),
        runtime: runtime.clone(),
    }))
}

fn build_server_context(
    config: &Config,
    core: &AppCore,
    request_metrics: Arc<RequestMetrics>,
    access_log: Option<AccessLog>,
) -> Arc<ServerContext> {
    let context = ServerContext::new(
        config.server.clone(),
        core.clock,
        Arc::clone(&core.cache),
        request_metrics,
        core.supervisor.clone(),
        &ROUTE_ACCESS,
        find_rendering,
    );
    Arc::new(context.with_access_log(access_log))
}

fn start_access_log(config: &Config, redactor: &Redactor) -> anyhow::Result<Option<AccessLog>> {
    let started = config
        .server
        .access_log
        .then(|| AccessLog::start(redactor.clone()));
    started
        .transpose()
        .context("failed to start the access log")
}

fn spawn_history_task(core: &AppCore, state: &Arc<AppState>) {
    let state = Arc::clone(state);
    core.supervisor.spawn_task("panel history", move |stop| {
        let state = Arc::clone(&state);
        async move { state.record_history(&stop).await }
    });
}

/// Returns the clock set to the time of the store that replicas share, so that all replicas date a
/// reading alike even if the clocks of their machines differ. Returns the machine's time if the store
/// does not answer in [`STORE_CLOCK_TIMEOUT`].
fn synchronize_clock(config: &Config, clock: Clock, redactor: &Redactor) -> anyhow::Result<Clock> {
    let Some(store) = RedisStore::new(&config.store, redactor.clone()) else {
        return Ok(clock);
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    let measured = runtime
        .block_on(async { timeout(STORE_CLOCK_TIMEOUT, store.measure_clock_offset(clock)).await });
    let Ok(Ok(ahead_ms)) = measured else {
        return Ok(clock);
    };
    if ahead_ms.unsigned_abs() > CLOCK_OFFSET_WARN_MS {
        warn!(
            ahead_ms,
            "machine clock differs from the shared store's, using the store's time"
        );
    }
    Ok(clock.with_offset_ms(ahead_ms))
}
