//! The HTTP server on a free port of 127.0.0.1. The test publishes its readings; the scheduler does
//! not run.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use resumen::api::{AppState, AppStateParts, ROUTE_ACCESS, ROUTE_PATHS, find_rendering, router};
use resumen::app::{AppCore, CoreDeps};
use resumen::config;
use resumen::domain::{Code, Failure, JsonData, Outcome, Reading, Source, SourceIdentity, Time};
use resumen::metrics::{FetchMetrics, OwnSeries, ProcessMetrics, RequestMetrics};
use resumen::process::{Clock, SendBudget};
use resumen::server::{HttpListener, HttpListeners, HttpServer, ServerContext};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::raw_client::RawHttpClient;
use super::scripted_fetch::{ScriptedFetch, test_name};

/// The default settings with a free port of 127.0.0.1.
pub fn default_server_settings() -> config::ServerSettings {
    let seconds = Duration::from_secs;
    config::ServerSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
        admin_listen: None,
        default_timeout: seconds(4),
        max_timeout: seconds(30),
        max_connections: 10_000,
        header_timeout: seconds(10),
        idle_timeout: seconds(75),
        shutdown_grace: seconds(10),
        cors_origins: Vec::new(),
        frame_ancestors: Vec::new(),
        trusted_proxies: Vec::new(),
        max_per_client: 0,
        access_log: false,
        hosts: Vec::new(),
        live: config::LiveAccess::On,
        tokens: Vec::new(),
        send_budget: None,
        tls: None,
    }
}

/// A running server.
pub struct TestServer {
    pub address: SocketAddr,
    pub core: AppCore,
    /// Starts the drain when cancelled.
    pub drain: CancellationToken,
    runtime: Runtime,
    serving: Option<JoinHandle<()>>,
    last_published_at: Mutex<Time>,
}

impl TestServer {
    /// Serves these sources on two threads. Only live requests call the providers.
    pub fn start(
        settings: config::ServerSettings,
        sources: &[Arc<Source>],
        fetch: ScriptedFetch,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let clock = Clock::start();
        let own_series = Arc::<OwnSeries>::default();
        let deps = CoreDeps {
            fetch: Arc::new(fetch),
            extractor: crate::support::scripted_fetch::test_extractor(),
            clock,
            runtime: runtime.handle().clone(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            fetch_metrics: Arc::default(),
            own_series: Arc::clone(&own_series),
            state_file: None,
            shared_store: None,
            send_budget: SendBudget::new(settings.send_budget),
        };
        let guard = runtime.enter();
        let core = AppCore::build_on_demand(deps, sources, settings.default_timeout).unwrap();
        let listener = HttpListener::bind(&settings.listen, false).unwrap();
        let address = listener.address().ip().unwrap();
        let listeners = HttpListeners {
            main: listener,
            admin: None,
        };
        let mut metrics_registry = Registry::default();
        ProcessMetrics::register(&mut metrics_registry, clock, "test");
        let tls = settings.tls.clone();
        let context = Arc::new(ServerContext::new(
            settings,
            clock,
            Arc::clone(&core.cache),
            RequestMetrics::register(&mut metrics_registry, &ROUTE_PATHS),
            core.supervisor.clone(),
            &ROUTE_ACCESS,
            find_rendering,
        ));
        context.replace_tls(tls.as_ref()).unwrap();
        let state = AppState::new(AppStateParts {
            server: Arc::clone(&context),
            live: Arc::clone(&core.live),
            liveness_beat: Arc::clone(&core.liveness_beat),
            fetch_metrics: Arc::new(FetchMetrics::default()),
            own_series,
            metrics_registry,
            was_restored: false,
            replica: None,
            runtime: runtime.handle().clone(),
        });
        let drain = CancellationToken::new();
        let server = HttpServer::start(listeners, context, &router(Arc::new(state)), 2).unwrap();
        let serving = runtime.spawn(server.run(drain.clone()));
        drop(guard);
        Self {
            address,
            core,
            drain,
            runtime,
            serving: Some(serving),
            last_published_at: Mutex::default(),
        }
    }

    pub fn connect_client(&self) -> RawHttpClient {
        RawHttpClient::connect(self.address)
    }

    /// Publishes a reading that is newer than every result before.
    pub fn publish_reading(&self, source: &str, json: &str) {
        let at = self.next_time();
        let reading = Reading {
            fetched_at: at,
            provider: test_name("provider"),
            data: JsonData::from_checked(json),
            extra_ttl: Duration::ZERO,
        };
        self.publish_result(source, at, Ok(reading));
    }

    /// Publishes a failure that is newer than every result before.
    pub fn publish_failure(&self, source: &str, code: Code, message: &str) {
        self.publish_result(source, self.next_time(), Err(Failure::new(code, message)));
    }

    /// The current time, at least a millisecond after the time before.
    fn next_time(&self) -> Time {
        let mut last = self.last_published_at.lock().unwrap();
        let now = std::iter::repeat_with(|| self.core.clock.now())
            .find(|now| now > &*last)
            .unwrap();
        *last = now;
        now
    }

    fn publish_result(&self, source: &str, at: Time, result: Result<Reading, Failure>) {
        let identity = SourceIdentity::from_source(
            &self
                .core
                .cache
                .snapshot()
                .source_state(source)
                .unwrap()
                .source,
        );
        let outcome = Outcome {
            source: test_name(source),
            identity,
            started_at: at,
            duration: Duration::from_millis(84),
            result,
            provider_attempts: Vec::new(),
        };
        self.core
            .cache
            .publish(&outcome, |_| Some(at.plus(Duration::from_secs(15))));
    }

    /// Starts the drain and waits for its end. Returns its duration, or `None` after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Option<Duration> {
        let clock = self.core.clock;
        let start = clock.time_point();
        self.drain.cancel();
        let serving = self.serving.take().unwrap();
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, serving).await });
        ended.ok().map(|result| {
            result.unwrap();
            clock.elapsed_since(start)
        })
    }
}
