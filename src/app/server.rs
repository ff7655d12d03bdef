//! The service: engine, site and listening socket, from a configuration to a drained end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::aggregate::PersistErrorHook;
use crate::api::{AppState, AppStateParts, ProcessMetrics};
use crate::config::Config;
use crate::extract::Extractor;
use crate::fetch::{Fetch, HttpFetch};
use crate::metrics::FetchMetrics;
use crate::process::Clock;
use crate::process::Supervisor;
use crate::process::thread_priority;
use crate::replicas::RedisStore;
use crate::replicas::SharedStore;
use crate::server::{HttpListener, HttpServer};
use crate::store::StateFile;

use super::core::{AppCore, CoreDeps};
use super::reload::ConfigReloader;

/// Threads for flights and background tasks: they wait for the network, so few suffice; two, so that a handshake or a
/// long merge does not delay a deadline.
const FLIGHT_THREADS: usize = 2;

/// What is kept of the grace for ending the tasks and for the last save.
const FINAL_SAVE_RESERVE: Duration = Duration::from_millis(500);

/// How long a start waits for the time of the store that replicas share.
const STORE_CLOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// The least difference of two machines' clocks that somebody should look into.
const CLOCK_OFFSET_WARN_MS: u64 = 1000;

/// What a service is started with beside its configuration.
pub struct ServiceOptions {
    /// Where it listens.
    pub listener: HttpListener,
    /// The clock that the log uses too.
    pub clock: Clock,
    /// The commit that the program was built from, or nothing.
    pub revision: &'static str,
}

/// A running service. Dropping it stops it at once; [`Service::stop`] drains it.
pub struct AppService {
    /// Everything behind the socket.
    pub core: Arc<AppCore>,
    reloader: ConfigReloader,
    address: SocketAddr,
    shutdown_grace: Duration,
    drain: CancellationToken,
    stop: CancellationToken,
    tracker: TaskTracker,
    server_task: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

/// The runtime of flights and background tasks.
pub(super) fn build_flight_runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(FLIGHT_THREADS)
        .thread_name("flights")
        .on_thread_start(thread_priority::lower_thread_priority)
        .enable_all();
    builder
        .build()
        .context("failed to start the runtime of flights")
}

impl AppService {
    /// Starts to fetch and to serve.
    pub fn start(config: &Config, start: ServiceOptions) -> anyhow::Result<Self> {
        let start = ServiceOptions {
            clock: synchronize_clock(config, start.clock)?,
            ..start
        };
        let fetch = HttpFetch::new(start.clock, config.secrets.clone());
        Self::with_fetch(config, start, fetch)
    }

    /// Starts to serve, and to fetch by `fetch`.
    pub fn with_fetch(
        config: &Config,
        start: ServiceOptions,
        fetch: HttpFetch,
    ) -> anyhow::Result<Self> {
        let ServiceOptions {
            listener,
            clock,
            revision,
        } = start;
        let address = listener
            .local_address()
            .context("failed to read the listening address")?;
        let runtime = build_flight_runtime()?;
        let (stop, drain, tracker) = (
            CancellationToken::new(),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        fetch.set_max_per_host(config.max_per_host);
        let fetch = Arc::new(fetch);
        let extractor = Extractor::new(config.secrets.clone());
        extractor.set_filters(config.filters.clone());
        let fetches = Arc::new(FetchMetrics::default());
        let noted = Arc::clone(&fetches);
        let vitals = Arc::new(ProcessMetrics::new(clock.now(), revision));
        let gear = CoreDeps {
            fetch: Arc::clone(&fetch) as Arc<dyn Fetch>,
            extractor: extractor.clone(),
            clock,
            runtime: runtime.handle().clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            outcome_observer: Arc::new(move |outcome| noted.record_outcome(outcome)),
            state_file: config.store.path.as_deref().map(|path| {
                (
                    StateFile::new(path),
                    make_store_failure_counter(&vitals, "file"),
                )
            }),
            shared_store: build_shared_store(config).map(|store| {
                (
                    store as Arc<dyn SharedStore>,
                    make_store_failure_counter(&vitals, "redis"),
                )
            }),
        };
        let engine = Arc::new(AppCore::start(
            gear,
            &config.sources,
            config.server.default_timeout,
        )?);
        let site = Arc::new(AppState::new(AppStateParts {
            settings: config.server.clone(),
            clock,
            cache: Arc::clone(&engine.cache),
            live: Arc::clone(&engine.live),
            liveness_beat: Arc::clone(&engine.liveness_beat),
            fetch_metrics: fetches,
            process_metrics: Arc::clone(&vitals),
            supervisor: engine.supervisor.clone(),
            was_restored: engine.was_restored,
            replica: engine.replica.clone(),
        }));
        spawn_history_task(&site, &engine.supervisor, &stop);
        let threads = available_parallelism().map_or(1, std::num::NonZero::get);
        let server = {
            let _within = runtime.enter();
            HttpServer::start(listener, site, threads)
                .context("failed to start the serving threads")?
        };
        let serving = runtime.spawn(server.run(drain.clone()));
        info!(address = %address, threads, "listens");
        Ok(Self {
            reloader: ConfigReloader {
                core: Arc::clone(&engine),
                process_metrics: vitals,
                fetch,
                extractor,
            },
            core: engine,
            address,
            shutdown_grace: config.server.shutdown_grace,
            drain,
            stop,
            tracker,
            server_task: Some(serving),
            runtime: Some(runtime),
        })
    }

    /// Where it listens; port 0 in the configuration has become a real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where flights and background tasks run.
    pub fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }

    /// Gives it another configuration.
    pub fn reloader(&self) -> ConfigReloader {
        self.reloader.clone()
    }

    /// Stops accepting, lets what runs finish, and ends: within the grace, or at once when `end` is cancelled. Not to be
    /// called from a runtime's thread.
    pub fn stop(mut self, end: &CancellationToken) {
        let (Some(runtime), Some(serving)) = (self.runtime.take(), self.server_task.take()) else {
            return;
        };
        runtime.block_on(async {
            tokio::select! {
                () = end.cancelled() => {}
                () = self.drain_and_save(serving) => {}
            }
        });
        runtime.shutdown_background();
        info!("stopped");
    }

    async fn drain_and_save(&self, serving: JoinHandle<()>) {
        let by = self.core.clock.deadline(self.shutdown_grace).at;
        let reserve = FINAL_SAVE_RESERVE.min(self.shutdown_grace / 4);
        self.drain.cancel();
        if timeout_at(by - reserve, serving).await.is_err() {
            warn!(grace = ?self.shutdown_grace, "connections were cut off: the grace is over");
        }
        self.stop.cancel();
        self.tracker.close();
        // Tasks that do not hear the token, and a disk that does not answer, end with the process.
        let _ = timeout_at(by - reserve / 2, self.tracker.wait()).await;
        let _ = timeout_at(by, self.core.save_state()).await;
    }
}

/// Keeps the history of the panel's lines.
fn spawn_history_task(site: &Arc<AppState>, supervisor: &Supervisor, stop: &CancellationToken) {
    let (site, until) = (Arc::clone(site), stop.clone());
    supervisor.spawn_task("panel history", move || {
        let (site, until) = (Arc::clone(&site), until.clone());
        async move { site.record_history(&until).await }
    });
}

/// Counts a failure of a store.
fn make_store_failure_counter(
    vitals: &Arc<ProcessMetrics>,
    store: &'static str,
) -> PersistErrorHook {
    let vitals = Arc::clone(vitals);
    Arc::new(move || vitals.record_store_error(store))
}

/// The store that replicas share.
fn build_shared_store(config: &Config) -> Option<Arc<RedisStore>> {
    let url = config.store.redis.as_deref()?;
    RedisStore::new(url, &config.store.redis_prefix, config.secrets.clone()).map(Arc::new)
}

/// The clock set by that of the store that replicas share, if it answers at once: so all of them date a reading alike,
/// whatever the clocks of their machines say. Otherwise the machine's own.
fn synchronize_clock(config: &Config, clock: Clock) -> anyhow::Result<Clock> {
    let Some(store) = build_shared_store(config) else {
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
            "the clock of the store that replicas share differs from this machine's; instants follow the store"
        );
    }
    Ok(clock.with_offset_ms(ahead_ms))
}

impl Drop for AppService {
    fn drop(&mut self) {
        self.drain.cancel();
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
