//! The real server on a free port of the loopback, over a snapshot that the test fills, and raw clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::app::{Engine, Gear};
use resumen::clock::Clock;
use resumen::config;
use resumen::domain::{Code, Data, Failure, Identity, Outcome, Reading, Source, Time};
use resumen::extract::Extractor;
use resumen::http::{Fetches, Listener, Parts, Server, Site, Vitals};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::scripted::{Scripted, name};

/// Settings of a server on the loopback, all defaults but for the port.
pub fn settings() -> config::Server {
    let seconds = Duration::from_secs;
    config::Server {
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
pub struct Stand {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it serves.
    pub engine: Engine<Scripted>,
    /// Cancelled to stop it.
    pub drain: CancellationToken,
    runtime: Runtime,
    serving: Option<JoinHandle<()>>,
    last: Mutex<Time>,
}

impl Stand {
    /// Serves these sources, which nobody fetches but for live requests, on two threads.
    pub fn start(settings: config::Server, sources: &[Arc<Source>], providers: Scripted) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let clock = Clock::start();
        let gear = Gear {
            fetch: Arc::new(providers),
            extractor: Extractor::default(),
            clock,
            runtime: runtime.handle().clone(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            witness: Arc::new(|_| {}),
            state: None,
            shared: None,
        };
        let guard = runtime.enter();
        let engine = Engine::idle(gear, sources, settings.default_timeout).unwrap();
        let listener = Listener::bind(settings.listen, false).unwrap();
        let address = listener.local_address().unwrap();
        let site = Site::new(Parts {
            settings,
            clock,
            cache: Arc::clone(&engine.cache),
            live: Arc::clone(&engine.live),
            pulse: Arc::clone(&engine.pulse),
            fetches: Arc::new(Fetches::default()),
            vitals: Arc::new(Vitals::new(clock.now(), "test")),
            supervisor: engine.supervisor.clone(),
            restored: false,
            fleet: None,
        });
        let drain = CancellationToken::new();
        let server = Server::start(listener, Arc::new(site), 2).unwrap();
        let serving = runtime.spawn(server.run(drain.clone()));
        drop(guard);
        Self {
            address,
            engine,
            drain,
            runtime,
            serving: Some(serving),
            last: Mutex::default(),
        }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Publishes a reading that was asked for just now, later than everything published before.
    pub fn reading(&self, source: &str, json: &str) {
        let at = self.later();
        let reading = Reading {
            fetched_at: at,
            provider: name("provider"),
            data: Data::from_checked(json),
        };
        self.publish(source, at, Ok(reading));
    }

    /// Publishes a failure that began just now, later than everything published before.
    pub fn failure(&self, source: &str, code: Code, message: &str) {
        self.publish(source, self.later(), Err(Failure::new(code, message)));
    }

    /// Now, once a millisecond has passed since the last time.
    fn later(&self) -> Time {
        let mut last = self.last.lock().unwrap();
        let now = std::iter::repeat_with(|| self.engine.clock.now())
            .find(|now| now > &*last)
            .unwrap();
        *last = now;
        now
    }

    fn publish(&self, source: &str, at: Time, result: Result<Reading, Failure>) {
        let identity = Identity::of(&self.engine.cache.snapshot().entry(source).unwrap().source);
        let took = Duration::from_millis(84);
        let outcome = Outcome {
            source: name(source),
            identity,
            at,
            took,
            result,
            tries: Vec::new(),
        };
        self.engine
            .cache
            .publish(&outcome, |_| Some(at.after(Duration::from_secs(15))));
    }

    /// Stops it and waits until it has stopped; how long that took.
    pub fn stop(&mut self, limit: Duration) -> Option<Duration> {
        let clock = self.engine.clock;
        let begun = clock.mark();
        self.drain.cancel();
        let serving = self.serving.take().unwrap();
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, serving).await });
        ended.ok().map(|result| {
            result.unwrap();
            clock.since(begun)
        })
    }
}
