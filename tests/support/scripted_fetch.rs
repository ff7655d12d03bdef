//! Providers that follow a script instead of a network, for tests under paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use resumen::app::{AppCore, CoreDeps};
use resumen::domain::{
    Code, Failure, FreshnessPolicy, Name, Provider, ProviderRequest, Schedule, Source, SourceKind,
};
use resumen::extract::Extractor;
use resumen::fetch::{Fetch, FetchContext, FetchError, FetchFuture, Payload};
use resumen::process::Clock;
use resumen::replicas::SharedStore;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a provider does with one call.
#[derive(Debug, Clone)]
pub enum ScriptedAction {
    /// Answers this JSON after that long.
    Respond(&'static str, Duration),
    /// Fails with this code after that long.
    Fail(Code, Duration),
    /// Answers 429 and wants to be left alone that long.
    RateLimit(Duration),
    /// Says nothing until the deadline.
    TimeOut,
    /// Has a bug.
    Panic,
}

type ActionScript = Box<dyn Fn(usize) -> ScriptedAction + Send + Sync>;

/// Providers by name; each call is noted with its instant.
#[derive(Default)]
pub struct ScriptedFetch {
    scripts: Mutex<HashMap<String, ActionScript>>,
    calls: Mutex<Vec<(String, Instant)>>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

impl ScriptedFetch {
    /// Sets what the provider of this name does at its n-th call.
    pub fn set_script(
        &self,
        provider: &str,
        act: impl Fn(usize) -> ScriptedAction + Send + Sync + 'static,
    ) {
        self.scripts
            .lock()
            .unwrap()
            .insert(provider.into(), Box::new(act));
    }

    /// When the provider of this name was called.
    pub fn call_times(&self, provider: &str) -> Vec<Instant> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(name, _)| name == provider)
            .map(|(_, at)| *at)
            .collect()
    }

    /// Whose calls were dropped before they ended.
    pub fn cancelled_calls(&self) -> Vec<String> {
        self.cancelled.lock().unwrap().clone()
    }
}

struct RecordCancelled(Option<(String, Arc<Mutex<Vec<String>>>)>);

impl Drop for RecordCancelled {
    fn drop(&mut self) {
        if let Some((name, list)) = self.0.take() {
            list.lock().unwrap().push(name);
        }
    }
}

impl Fetch for ScriptedFetch {
    fn fetch<'f>(&'f self, provider: &'f Provider, context: FetchContext) -> FetchFuture<'f> {
        let deadline = context.deadline;
        Box::pin(async move {
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
            let mut dropped = RecordCancelled(Some((name, Arc::clone(&self.cancelled))));
            let fail = |code, retry_after| {
                Err(FetchError {
                    failure: Failure::new(code, "scripted"),
                    retry_after,
                })
            };
            let result = match act {
                ScriptedAction::Respond(json, after) => {
                    sleep(after).await;
                    Ok(Payload(Bytes::from_static(json.as_bytes())))
                }
                ScriptedAction::Fail(code, after) => {
                    sleep(after).await;
                    fail(code, None)
                }
                ScriptedAction::RateLimit(span) => fail(Code::RateLimited, Some(span)),
                ScriptedAction::TimeOut => {
                    sleep_until(deadline.at).await;
                    fail(Code::Timeout, None)
                }
                ScriptedAction::Panic => panic!("scripted panic"),
            };
            dropped.0 = None;
            result
        })
    }
}

/// A name.
pub fn test_name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A pace of 15 s with a timeout of 4 s and a least interval of 1 s.
pub fn test_schedule() -> Schedule {
    let seconds = Duration::from_secs;
    Schedule {
        interval: seconds(15),
        timeout: seconds(4),
        min_interval: seconds(1),
        hedge_after: None,
    }
}

/// A provider whose filter is `.`
pub fn test_provider(text: &str) -> Provider {
    let request = ProviderRequest {
        // A host each, so that attempts do not take turns.
        url: format!("http://{text}.test/").parse().unwrap(),
        method: "GET".into(),
        headers: Vec::new(),
        body: None,
        allow_private: false,
        ca_pem: None,
        proxy: None,
        max_body: 1 << 20,
    };
    Provider {
        name: test_name(text),
        request,
        extract: ".".into(),
    }
}

/// A source of these providers.
pub fn test_source(text: &str, providers: &[&str], pace: Schedule) -> Arc<Source> {
    let shelf = FreshnessPolicy {
        ttl: pace.interval * 2 + pace.timeout,
        max_stale: Duration::from_secs(3600),
    };
    let providers = providers.iter().map(|p| test_provider(p)).collect();
    Arc::new(Source {
        name: test_name(text),
        kind: SourceKind::Fetched {
            providers,
            schedule: pace,
        },
        freshness_policy: shelf,
        attribution: None,
    })
}

/// A source derived from others.
pub fn test_derived_source(text: &str, from: &[&str], filter: &str) -> Arc<Source> {
    let shelf = FreshnessPolicy {
        ttl: Duration::from_secs(34),
        max_stale: Duration::from_secs(3600),
    };
    let kind = SourceKind::Derived {
        inputs: from.iter().map(|n| test_name(n)).collect(),
        extract: filter.into(),
    };
    Arc::new(Source {
        name: test_name(text),
        kind,
        freshness_policy: shelf,
        attribution: None,
    })
}

/// An engine over scripted providers on the test's own runtime.
pub struct TestCore {
    /// The providers.
    pub providers: Arc<ScriptedFetch>,
    /// What is tested.
    pub core: AppCore,
}

impl TestCore {
    /// An engine that fetches for live rounds only.
    pub fn idle(sources: &[Arc<Source>], providers: ScriptedFetch) -> Self {
        let (gear, providers) = core_deps(providers);
        Self {
            core: AppCore::build_on_demand(gear, sources, Duration::from_secs(4)).unwrap(),
            providers,
        }
    }

    /// An engine that runs its schedule.
    pub fn start(sources: &[Arc<Source>], providers: ScriptedFetch) -> Self {
        let (gear, providers) = core_deps(providers);
        Self {
            core: AppCore::start(gear, sources, Duration::from_secs(4)).unwrap(),
            providers,
        }
    }

    /// One of several replicas that share `store`, on this clock, until `stop`.
    pub fn start_replica(
        sources: &[Arc<Source>],
        providers: &Arc<ScriptedFetch>,
        clock: Clock,
        store: Arc<dyn SharedStore>,
        stop: CancellationToken,
    ) -> Self {
        let gear = CoreDeps {
            fetch: Arc::<ScriptedFetch>::clone(providers),
            clock,
            stop,
            shared_store: Some((store, Arc::new(|| {}))),
            ..core_deps(ScriptedFetch::default()).0
        };
        let engine = AppCore::start(gear, sources, Duration::from_secs(4)).unwrap();
        Self {
            core: engine,
            providers: Arc::clone(providers),
        }
    }

    /// A live round over these sources, as the JSON of its answer.
    pub async fn live_results(&self, names: &[&str], timeout: Duration) -> Value {
        let names: Vec<Name> = names.iter().map(|n| test_name(n)).collect();
        let round = self
            .core
            .live
            .fetch_sources(&names, Duration::ZERO, self.core.clock.deadline(timeout))
            .await;
        let mode = resumen::render::RenderMode::Live {
            timeout,
            source_results: &round.notes,
            is_collapsed: round.was_collapsed,
        };
        let now = self.core.clock.now();
        let rendering =
            resumen::render::render_summary(&round.snapshot, &round.positions, &mode, now);
        serde_json::from_slice(&rendering.body).unwrap()
    }

    /// The whole snapshot, as the JSON of its answer.
    pub fn current_results(&self) -> Value {
        serde_json::from_slice(
            &self
                .core
                .cache
                .current_rendering(self.core.clock.now())
                .body,
        )
        .unwrap()
    }
}

fn core_deps(providers: ScriptedFetch) -> (CoreDeps, Arc<ScriptedFetch>) {
    let providers = Arc::new(providers);
    let gear = CoreDeps {
        fetch: Arc::<ScriptedFetch>::clone(&providers),
        extractor: Extractor::default(),
        clock: Clock::start(),
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        outcome_observer: Arc::new(|_| {}),
        state_file: None,
        shared_store: None,
    };
    (gear, providers)
}
