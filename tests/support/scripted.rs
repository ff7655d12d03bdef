//! Providers that follow a script instead of a network, for tests under paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use resumen::app::{Engine, Gear};
use resumen::clock::{Clock, Deadline};
use resumen::domain::{Code, Failure, Kind, Name, Pace, Provider, Request, Shelf, Source};
use resumen::extract::Extractor;
use resumen::fetch::{Fetch, FetchError, Payload};
use resumen::store::shared::SharedStore;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a provider does with one call.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers this JSON after that long.
    Answer(&'static str, Duration),
    /// Fails with this code after that long.
    Fail(Code, Duration),
    /// Answers 429 and wants to be left alone that long.
    Hold(Duration),
    /// Says nothing until the deadline.
    Silent,
    /// Has a bug.
    Panic,
}

type Script = Box<dyn Fn(usize) -> Act + Send + Sync>;

/// Providers by name; each call is noted with its instant.
#[derive(Default)]
pub struct Scripted {
    scripts: Mutex<HashMap<String, Script>>,
    calls: Mutex<Vec<(String, Instant)>>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Sets what the provider of this name does at its n-th call.
    pub fn script(&self, provider: &str, act: impl Fn(usize) -> Act + Send + Sync + 'static) {
        self.scripts
            .lock()
            .unwrap()
            .insert(provider.into(), Box::new(act));
    }

    /// When the provider of this name was called.
    pub fn calls(&self, provider: &str) -> Vec<Instant> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(name, _)| name == provider)
            .map(|(_, at)| *at)
            .collect()
    }

    /// Whose calls were dropped before they ended.
    pub fn cancelled(&self) -> Vec<String> {
        self.cancelled.lock().unwrap().clone()
    }
}

struct Unless(Option<(String, Arc<Mutex<Vec<String>>>)>);

impl Drop for Unless {
    fn drop(&mut self) {
        if let Some((name, list)) = self.0.take() {
            list.lock().unwrap().push(name);
        }
    }
}

impl Fetch for Scripted {
    async fn fetch(&self, provider: &Provider, deadline: Deadline) -> Result<Payload, FetchError> {
        let name = provider.name.to_string();
        let act = {
            let mut calls = self.calls.lock().unwrap();
            let number = calls.iter().filter(|(known, _)| *known == name).count();
            #[allow(
                clippy::disallowed_methods,
                reason = "the instant of a call is what the test asks for"
            )]
            calls.push((name.clone(), Instant::now()));
            self.scripts.lock().unwrap()[&name](number)
        };
        let mut dropped = Unless(Some((name, Arc::clone(&self.cancelled))));
        let fail = |code, retry_after| {
            Err(FetchError {
                failure: Failure::new(code, "scripted"),
                retry_after,
            })
        };
        let result = match act {
            Act::Answer(json, after) => {
                sleep(after).await;
                Ok(Payload(Bytes::from_static(json.as_bytes())))
            }
            Act::Fail(code, after) => {
                sleep(after).await;
                fail(code, None)
            }
            Act::Hold(span) => fail(Code::RateLimited, Some(span)),
            Act::Silent => {
                sleep_until(deadline.at).await;
                fail(Code::Timeout, None)
            }
            Act::Panic => panic!("scripted panic"),
        };
        dropped.0 = None;
        result
    }
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A pace of 15 s with a timeout of 4 s and a least interval of 1 s.
pub fn pace() -> Pace {
    let seconds = Duration::from_secs;
    Pace {
        interval: seconds(15),
        timeout: seconds(4),
        min_interval: seconds(1),
        hedge_after: None,
    }
}

/// A provider whose filter is `.`
pub fn provider(text: &str) -> Provider {
    let request = Request {
        url: "http://127.0.0.1:1/".parse().unwrap(),
        method: "GET".into(),
        headers: Vec::new(),
        body: None,
        allow_private: false,
        ca: None,
        proxy: None,
        max_body: 1 << 20,
    };
    Provider {
        name: name(text),
        request,
        extract: ".".into(),
    }
}

/// A source of these providers.
pub fn source(text: &str, providers: &[&str], pace: Pace) -> Arc<Source> {
    let shelf = Shelf {
        ttl: pace.interval * 2 + pace.timeout,
        max_stale: Duration::from_secs(3600),
    };
    let providers = providers.iter().map(|p| provider(p)).collect();
    Arc::new(Source {
        name: name(text),
        kind: Kind::Fetched { providers, pace },
        shelf,
        attribution: None,
    })
}

/// A source derived from others.
pub fn derived(text: &str, from: &[&str], filter: &str) -> Arc<Source> {
    let shelf = Shelf {
        ttl: Duration::from_secs(34),
        max_stale: Duration::from_secs(3600),
    };
    let kind = Kind::Derived {
        from: from.iter().map(|n| name(n)).collect(),
        extract: filter.into(),
    };
    Arc::new(Source {
        name: name(text),
        kind,
        shelf,
        attribution: None,
    })
}

/// An engine over scripted providers on the test's own runtime.
pub struct Rig {
    /// The providers.
    pub providers: Arc<Scripted>,
    /// What is tested.
    pub engine: Engine<Scripted>,
}

impl Rig {
    /// An engine that fetches for live rounds only.
    pub fn idle(sources: &[Arc<Source>], providers: Scripted) -> Self {
        let (gear, providers) = gear(providers);
        Self {
            engine: Engine::idle(gear, sources, Duration::from_secs(4)).unwrap(),
            providers,
        }
    }

    /// An engine that runs its schedule.
    pub fn start(sources: &[Arc<Source>], providers: Scripted) -> Self {
        let (gear, providers) = gear(providers);
        Self {
            engine: Engine::start(gear, sources, Duration::from_secs(4)).unwrap(),
            providers,
        }
    }

    /// One of several replicas that share `store`, on this clock, until `stop`.
    pub fn replica(
        sources: &[Arc<Source>],
        providers: &Arc<Scripted>,
        clock: Clock,
        store: Arc<dyn SharedStore>,
        stop: CancellationToken,
    ) -> Self {
        let gear = Gear {
            fetch: Arc::clone(providers),
            clock,
            stop,
            shared: Some((store, Arc::new(|| {}))),
            ..gear(Scripted::default()).0
        };
        let engine = Engine::start(gear, sources, Duration::from_secs(4)).unwrap();
        Self {
            engine,
            providers: Arc::clone(providers),
        }
    }

    /// A live round over these sources, as the JSON of its answer.
    pub async fn live(&self, names: &[&str], timeout: Duration) -> Value {
        let names: Vec<Name> = names.iter().map(|n| name(n)).collect();
        let round = self
            .engine
            .live
            .gather(&names, Duration::ZERO, self.engine.clock.deadline(timeout))
            .await;
        let mode = resumen::render::Mode::Live {
            timeout,
            notes: &round.notes,
            collapsed: round.collapsed,
        };
        let now = self.engine.clock.now();
        let rendering = resumen::render::render(&round.snapshot, &round.selection, &mode, now);
        serde_json::from_slice(&rendering.body).unwrap()
    }

    /// The whole snapshot, as the JSON of its answer.
    pub fn now(&self) -> Value {
        serde_json::from_slice(&self.engine.cache.current(self.engine.clock.now()).body).unwrap()
    }
}

fn gear(providers: Scripted) -> (Gear<Scripted>, Arc<Scripted>) {
    let providers = Arc::new(providers);
    let gear = Gear {
        fetch: Arc::clone(&providers),
        extractor: Extractor::default(),
        clock: Clock::start(),
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        witness: Arc::new(|_| {}),
        state: None,
        shared: None,
    };
    (gear, providers)
}
