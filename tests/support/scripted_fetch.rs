//! A `Fetch` in memory whose providers follow scripts, for tests under paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use resumen::app::{AppCore, CoreDeps};
use resumen::domain::{
    Code, Failure, FreshnessPolicy, Name, Provider, ProviderRequest, Schedule, Source, SourceKind,
};
use resumen::extract::Extractor;
use resumen::fetch::{Fetch, FetchContext, FetchError, FetchFuture};
use resumen::metrics::StoreErrorCounter;
use resumen::process::{Clock, SendBudget};
use resumen::replicas::SharedStore;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An extractor whose workers run the program under test.
pub fn test_extractor() -> Extractor {
    Extractor::new(
        env!("CARGO_BIN_EXE_resumen").into(),
        resumen::domain::Redactor::default(),
    )
}

/// The result of one call.
#[derive(Debug, Clone)]
pub enum ScriptedAction {
    /// Returns this JSON after a delay.
    Respond(&'static str, Duration),
    /// Fails with this code after a delay.
    Fail(Code, Duration),
    /// Fails with `rate_limited` and this `Retry-After`.
    RateLimit(Duration),
    /// Fails at the deadline.
    TimeOut,
    Panic,
}

type ActionScript = Box<dyn Fn(usize) -> ScriptedAction + Send + Sync>;

/// Providers by name. Each call is recorded.
#[derive(Default)]
pub struct ScriptedFetch {
    scripts: Mutex<HashMap<String, ActionScript>>,
    calls: Mutex<Vec<(String, Instant)>>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

impl ScriptedFetch {
    /// Sets the action of a provider by the number of the call, from 0.
    pub fn set_script(
        &self,
        provider: &str,
        action: impl Fn(usize) -> ScriptedAction + Send + Sync + 'static,
    ) {
        self.scripts
            .lock()
            .unwrap()
            .insert(provider.into(), Box::new(action));
    }

    /// The times of all calls of a provider.
    pub fn call_times(&self, provider: &str) -> Vec<Instant> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(name, _)| name == provider)
            .map(|(_, at)| *at)
            .collect()
    }

    /// The providers whose calls were dropped before their end.
    pub fn cancelled_calls(&self) -> Vec<String> {
        self.cancelled.lock().unwrap().clone()
    }
}

/// Adds the provider to the list unless the call has ended.
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
            let action = {
                let mut calls = self.calls.lock().unwrap();
                let number = calls.iter().filter(|(known, _)| *known == name).count();
                #[allow(
                    clippy::disallowed_methods,
                    reason = "tests compare the times of calls under paused time"
                )]
                calls.push((name.clone(), Instant::now()));
                self.scripts.lock().unwrap()[&name](number)
            };
            let mut on_drop = RecordCancelled(Some((name, Arc::clone(&self.cancelled))));
            let fail = |code, retry_after| {
                Err(FetchError {
                    failure: Failure::new(code, "scripted"),
                    retry_after,
                    refused: None,
                    is_permit_timeout: false,
                })
            };
            let result = match action {
                ScriptedAction::Respond(json, delay) => {
                    sleep(delay).await;
                    Ok(Bytes::from_static(json.as_bytes()).into())
                }
                ScriptedAction::Fail(code, delay) => {
                    sleep(delay).await;
                    fail(code, None)
                }
                ScriptedAction::RateLimit(retry_after) => {
                    fail(Code::RateLimited, Some(retry_after))
                }
                ScriptedAction::TimeOut => {
                    sleep_until(deadline.at).await;
                    fail(Code::Timeout, None)
                }
                ScriptedAction::Panic => panic!("scripted panic"),
            };
            on_drop.0 = None;
            result
        })
    }
}

pub fn test_name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An interval of 15 s, a timeout of 4 s, and a `min_interval` of 1 s.
pub fn test_schedule() -> Schedule {
    let seconds = Duration::from_secs;
    Schedule {
        interval: seconds(15),
        timeout: seconds(4),
        min_interval: seconds(1),
        hedge_after: None,
    }
}

/// A provider with the filter `.`
pub fn test_provider(text: &str) -> Provider {
    // A host each, so that attempts do not take turns.
    let url = format!("http://{text}.test/").parse().unwrap();
    let request = ProviderRequest::get(url);
    Provider {
        name: test_name(text),
        request,
        extract: ".".into(),
    }
}

/// A source with these providers.
pub fn test_source(text: &str, providers: &[&str], schedule: Schedule) -> Arc<Source> {
    let freshness_policy = FreshnessPolicy {
        ttl: schedule.interval * 2 + schedule.timeout,
        max_stale: Duration::from_secs(3600),
    };
    let providers = providers.iter().map(|p| test_provider(p)).collect();
    Arc::new(Source {
        name: test_name(text),
        kind: SourceKind::Fetched {
            providers,
            schedule,
        },
        freshness_policy,
        attribution: None,
        appearance: Arc::default(),
        metrics: Arc::default(),
    })
}

/// A derived source with these inputs.
pub fn test_derived_source(text: &str, inputs: &[&str], filter: &str) -> Arc<Source> {
    let freshness_policy = FreshnessPolicy {
        ttl: Duration::from_secs(34),
        max_stale: Duration::from_secs(3600),
    };
    let kind = SourceKind::Derived {
        inputs: inputs.iter().map(|input| test_name(input)).collect(),
        extract: filter.into(),
    };
    Arc::new(Source {
        name: test_name(text),
        kind,
        freshness_policy,
        attribution: None,
        appearance: Arc::default(),
        metrics: Arc::default(),
    })
}

/// The core of the service over a [`ScriptedFetch`], on the runtime of the test.
pub struct TestCore {
    pub fetch: Arc<ScriptedFetch>,
    pub core: AppCore,
}

impl TestCore {
    /// A core without a scheduler: only live requests call the providers.
    pub fn idle(sources: &[Arc<Source>], fetch: ScriptedFetch) -> Self {
        let (deps, fetch) = core_deps(fetch);
        Self {
            core: AppCore::build_on_demand(deps, sources, Duration::from_secs(4)).unwrap(),
            fetch,
        }
    }

    /// A core with its scheduler.
    pub fn start(sources: &[Arc<Source>], fetch: ScriptedFetch) -> Self {
        let (deps, fetch) = core_deps(fetch);
        Self {
            core: AppCore::start(deps, sources, Duration::from_secs(4)).unwrap(),
            fetch,
        }
    }

    /// One of several replicas that share `store`; it runs until `stop` is cancelled.
    pub fn start_replica(
        sources: &[Arc<Source>],
        fetch: &Arc<ScriptedFetch>,
        clock: Clock,
        store: Arc<dyn SharedStore>,
        stop: CancellationToken,
    ) -> Self {
        let deps = CoreDeps {
            fetch: Arc::<ScriptedFetch>::clone(fetch),
            clock,
            stop,
            shared_store: Some((store, StoreErrorCounter::default())),
            ..core_deps(ScriptedFetch::default()).0
        };
        let core = AppCore::start(deps, sources, Duration::from_secs(4)).unwrap();
        Self {
            core,
            fetch: Arc::clone(fetch),
        }
    }

    /// The JSON of a live request for these sources.
    pub async fn live_results(&self, names: &[&str], timeout: Duration) -> Value {
        let names: Vec<Name> = names.iter().map(|name| test_name(name)).collect();
        let live = self
            .core
            .live
            .fetch_sources(&names, Duration::ZERO, self.core.clock.deadline(timeout))
            .await;
        let mode = resumen::render::RenderMode::Live {
            timeout,
            source_results: &live.notes,
            is_collapsed: live.was_collapsed,
        };
        let now = self.core.clock.now();
        let form = resumen::render::BodyForm::Summary;
        let rendering =
            resumen::render::render_summary(&live.snapshot, &live.positions, &form, &mode, now);
        serde_json::from_slice(&rendering.body).unwrap()
    }

    /// The JSON of the current snapshot.
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

pub fn core_deps(fetch: ScriptedFetch) -> (CoreDeps, Arc<ScriptedFetch>) {
    let fetch = Arc::new(fetch);
    let deps = CoreDeps {
        fetch: Arc::<ScriptedFetch>::clone(&fetch),
        extractor: test_extractor(),
        clock: Clock::start(),
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        fetch_metrics: Arc::default(),
        own_series: Arc::default(),
        state_file: None,
        shared_store: None,
        send_budget: SendBudget::new(None),
    };
    (deps, fetch)
}
