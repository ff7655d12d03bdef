//! The real server on a free port of the loopback, over a snapshot that the test fills, and raw clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::api::{AppState, AppStateParts, ProcessMetrics};
use resumen::app::{AppCore, CoreDeps};
use resumen::config;
use resumen::domain::{Code, Failure, JsonData, Outcome, Reading, Source, SourceIdentity, Time};
use resumen::metrics::FetchMetrics;
use resumen::process::Clock;
use resumen::server::{HttpListener, HttpServer};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::raw_client::RawHttpClient;
use super::scripted_fetch::{ScriptedFetch, test_name};

/// Settings of a server on the loopback, all defaults but for the port.
pub fn default_server_settings() -> config::ServerSettings {
    let seconds = Duration::from_secs;
    config::ServerSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        default_timeout: seconds(4),
        max_timeout: seconds(30),
        max_connections: 10_000,
        header_timeout: seconds(10),
        idle_timeout: seconds(75),
        shutdown_grace: seconds(10),
        cors_origins: Vec::new(),
    }
}

/// A running server.
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it serves.
    pub core: AppCore,
    /// Cancelled to stop it.
    pub drain: CancellationToken,
    runtime: Runtime,
    serving: Option<JoinHandle<()>>,
    last_published_at: Mutex<Time>,
}

impl TestServer {
    /// Serves these sources, which nobody fetches but for live requests, on two threads.
    pub fn start(
        settings: config::ServerSettings,
        sources: &[Arc<Source>],
        providers: ScriptedFetch,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let clock = Clock::start();
        let gear = CoreDeps {
            fetch: Arc::new(providers),
            extractor: crate::support::scripted_fetch::test_extractor(),
            clock,
            runtime: runtime.handle().clone(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            outcome_observer: Arc::new(|_| {}),
            state_file: None,
            shared_store: None,
        };
        let guard = runtime.enter();
        let engine = AppCore::build_on_demand(gear, sources, settings.default_timeout).unwrap();
        let listener = HttpListener::bind(settings.listen, false).unwrap();
        let address = listener.local_address().unwrap();
        let site = AppState::new(AppStateParts {
            settings,
            clock,
            cache: Arc::clone(&engine.cache),
            live: Arc::clone(&engine.live),
            liveness_beat: Arc::clone(&engine.liveness_beat),
            fetch_metrics: Arc::new(FetchMetrics::default()),
            process_metrics: Arc::new(ProcessMetrics::new(clock.now(), "test")),
            supervisor: engine.supervisor.clone(),
            was_restored: false,
            replica: None,
        });
        let drain = CancellationToken::new();
        let server = HttpServer::start(listener, Arc::new(site), 2).unwrap();
        let serving = runtime.spawn(server.run(drain.clone()));
        drop(guard);
        Self {
            address,
            core: engine,
            drain,
            runtime,
            serving: Some(serving),
            last_published_at: Mutex::default(),
        }
    }

    /// A client of it.
    pub fn connect_client(&self) -> RawHttpClient {
        RawHttpClient::connect(self.address)
    }

    /// Publishes a reading that was asked for just now, later than everything published before.
    pub fn publish_reading(&self, source: &str, json: &str) {
        let at = self.next_instant();
        let reading = Reading {
            fetched_at: at,
            provider: test_name("provider"),
            data: JsonData::from_checked(json),
        };
        self.publish_result(source, at, Ok(reading));
    }

    /// Publishes a failure that began just now, later than everything published before.
    pub fn publish_failure(&self, source: &str, code: Code, message: &str) {
        self.publish_result(
            source,
            self.next_instant(),
            Err(Failure::new(code, message)),
        );
    }

    /// Now, once a millisecond has passed since the last time.
    fn next_instant(&self) -> Time {
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
        let took = Duration::from_millis(84);
        let outcome = Outcome {
            source: test_name(source),
            identity,
            started_at: at,
            duration: took,
            result,
            provider_attempts: Vec::new(),
        };
        self.core
            .cache
            .publish(&outcome, |_| Some(at.plus(Duration::from_secs(15))));
    }

    /// Stops it and waits until it has stopped; how long that took.
    pub fn stop(&mut self, limit: Duration) -> Option<Duration> {
        let clock = self.core.clock;
        let begun = clock.time_point();
        self.drain.cancel();
        let serving = self.serving.take().unwrap();
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, serving).await });
        ended.ok().map(|result| {
            result.unwrap();
            clock.elapsed_since(begun)
        })
    }
}
