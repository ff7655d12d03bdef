//! The aggregator without its sockets: cache, flights, background tasks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aggregate::{
    Cache, CompletionHandler, DerivedTask, Flights, LiveFetcher, LivenessBeat, MetricTask,
    Persister, PreparedSource, RefreshCommand, Refresher, ReplicaCoordinator,
};
use crate::domain::{Snapshot, Source, SourceSet};
use crate::extract::Extractor;
use crate::fetch::Fetch;
use crate::metrics::{FetchMetrics, OwnSeries, StoreErrorCounter};
use crate::process::{Clock, SendBudget, Supervisor};
use crate::replicas::{LocalReplica, ReplicaSync, SharedStore};
use crate::store::StateFile;

/// What a core is built from.
pub struct CoreDeps {
    /// Requests data from providers.
    pub fetch: Arc<dyn Fetch>,
    /// Extracts readings from bodies.
    pub extractor: Extractor,
    /// Dates everything.
    pub clock: Clock,
    /// Runs flights and background tasks.
    pub runtime: Handle,
    /// Counts them.
    pub tracker: TaskTracker,
    /// Cancelled to stop them.
    pub stop: CancellationToken,
    /// Counts attempts.
    pub fetch_metrics: Arc<FetchMetrics>,
    /// Receives the series of the sources' own metrics.
    pub own_series: Arc<OwnSeries>,
    /// The state file and the counter of its errors; `None`: readings do not survive a restart.
    pub state_file: Option<(StateFile, StoreErrorCounter)>,
    /// The store that replicas share and the counter of its errors; `None`: the only replica.
    pub shared_store: Option<(Arc<dyn SharedStore>, StoreErrorCounter)>,
    /// Counts renderings.
    pub send_budget: Arc<SendBudget>,
}

/// A running aggregator.
pub struct AppCore {
    /// The newest readings.
    pub cache: Arc<Cache>,
    /// Fetches sources for live requests.
    pub live: Arc<LiveFetcher>,
    /// The liveness of the refresher.
    pub liveness_beat: Arc<LivenessBeat>,
    /// The clock of all readings.
    pub clock: Clock,
    /// Restarts the background tasks.
    pub supervisor: Supervisor,
    /// Whether the state file held readings at the start.
    pub was_restored: bool,
    /// This replica, if attempts are shared with others.
    pub replica: Option<Arc<LocalReplica>>,
    flights: Flights,
    refresher: UnboundedSender<RefreshCommand>,
    persister: Option<Arc<Persister>>,
    extractor: Extractor,
}

impl AppCore {
    /// Builds a core and starts its background tasks: all sources are attempted now, then on
    /// schedule. Blocks on disk I/O. Fails if a filter does not compile.
    pub fn start(
        deps: CoreDeps,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let shared_store = deps.shared_store.as_ref();
        let shared_store = shared_store.map(|(store, _)| Arc::clone(store));
        let (core, commands) = Self::build(deps, sources, timeout)?;
        core.spawn_refresher(commands);
        core.spawn_persister();
        if let (Some(store), Some(replica)) = (shared_store, &core.replica) {
            core.spawn_replica_sync(store, Arc::clone(replica));
        }
        Ok(core)
    }

    /// Builds a core that attempts sources for live requests only.
    pub fn build_on_demand(
        deps: CoreDeps,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self::build(deps, sources, timeout)?.0)
    }

    /// Replaces the sources by those of another configuration. Unchanged sources keep their
    /// readings. Fails, without a change, if a filter does not compile.
    pub fn replace_sources(
        &self,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<()> {
        // The only step that can fail, before any change.
        let prepared = prepare_sources(sources, &self.extractor)?;
        let source_set = Arc::new(SourceSet::new(sources.to_vec()));
        // The cache first: the outcome of a new flight must find its source there.
        self.cache.replace_sources(source_set, timeout);
        self.flights
            .replace_sources(prepared, &self.cache.snapshot());
        // Sending fails only while the program stops.
        let _ = self.refresher.send(RefreshCommand::SourcesChanged);
        Ok(())
    }

    /// Plans the next attempt of the selected sources for now.
    pub fn attempt_now(&self, is_selected: impl Fn(&Source) -> bool) {
        let now = self.clock.now();
        self.cache
            .replan_sources(|state| is_selected(&state.source).then_some(now));
        // Sending fails only while the program stops.
        let _ = self.refresher.send(RefreshCommand::SourcesChanged);
    }

    /// Saves the snapshot once more. To be called when nothing is published any more.
    pub async fn save_state(&self) {
        if let Some(persister) = &self.persister {
            persister.save_now().await;
        }
    }

    fn build(
        deps: CoreDeps,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<(Self, UnboundedReceiver<RefreshCommand>)> {
        let clock = deps.clock;
        let prepared = prepare_sources(sources, &deps.extractor)?;
        let source_set = Arc::new(SourceSet::new(sources.to_vec()));
        let cache = Arc::new(Cache::new(
            Snapshot::new(source_set),
            timeout,
            deps.send_budget,
        ));
        let persister = deps.state_file.map(|(file, errors)| {
            Arc::new(Persister::new(file, Arc::clone(&cache), clock, errors))
        });
        // Restored before the first flight: a `Retry-After` of the last run still holds.
        let was_restored = persister
            .as_ref()
            .is_some_and(|persister| persister.restore_state());
        let replica = deps
            .shared_store
            .map(|(_, errors)| Arc::new(LocalReplica::new(clock, errors)));
        let (refresher, commands) = unbounded_channel();
        let completion = CompletionHandler::new(
            Arc::clone(&cache),
            refresher.clone(),
            deps.fetch_metrics,
            replica
                .clone()
                .map(|replica| replica as Arc<dyn ReplicaCoordinator>),
        );
        let flights = Flights::new(
            deps.fetch,
            deps.extractor.clone(),
            clock,
            completion,
            deps.runtime.clone(),
            deps.tracker.clone(),
            deps.stop.clone(),
        );
        flights.replace_sources(prepared, &cache.snapshot());
        let core = Self {
            live: Arc::new(LiveFetcher::new(flights.clone(), Arc::clone(&cache), clock)),
            liveness_beat: Arc::new(LivenessBeat::new(clock)),
            supervisor: Supervisor::new(deps.runtime, deps.tracker, deps.stop, clock),
            cache,
            clock,
            was_restored,
            replica,
            flights,
            refresher,
            persister,
            extractor: deps.extractor,
        };
        core.spawn_derived_task();
        core.spawn_metric_task(deps.own_series);
        Ok((core, commands))
    }

    fn spawn_refresher(&self, commands: UnboundedReceiver<RefreshCommand>) {
        let refresher = Arc::new(Refresher::new(
            self.flights.clone(),
            Arc::clone(&self.cache),
            self.clock,
            Arc::clone(&self.liveness_beat),
            commands,
        ));
        self.supervisor.spawn_task("refresher", move |stop| {
            let refresher = Arc::clone(&refresher);
            async move { refresher.run(&stop).await }
        });
    }

    fn spawn_persister(&self) {
        let Some(persister) = self.persister.clone() else {
            return;
        };
        self.supervisor.spawn_task("saver", move |stop| {
            let persister = Arc::clone(&persister);
            async move { persister.run(&stop).await }
        });
    }

    fn spawn_replica_sync(&self, store: Arc<dyn SharedStore>, replica: Arc<LocalReplica>) {
        let sync = Arc::new(ReplicaSync {
            store,
            replica,
            flights: self.flights.clone(),
            cache: Arc::clone(&self.cache),
            clock: self.clock,
        });
        self.supervisor.spawn_task("keeper", move |stop| {
            let sync = Arc::clone(&sync);
            async move { sync.run(&stop).await }
        });
    }

    fn spawn_metric_task(&self, series: Arc<OwnSeries>) {
        let (cache, extractor) = (Arc::clone(&self.cache), self.extractor.clone());
        let metrics = Arc::new(MetricTask::new(cache, extractor, self.clock, series));
        self.supervisor.spawn_task("own metrics", move |stop| {
            let metrics = Arc::clone(&metrics);
            async move { metrics.run(&stop).await }
        });
    }

    fn spawn_derived_task(&self) {
        let derived = Arc::new(DerivedTask {
            cache: Arc::clone(&self.cache),
            extractor: self.extractor.clone(),
            clock: self.clock,
        });
        self.supervisor.spawn_task("deriver", move |stop| {
            let derived = Arc::clone(&derived);
            async move { derived.run(&stop).await }
        });
    }
}

fn prepare_sources(
    sources: &[Arc<Source>],
    extractor: &Extractor,
) -> anyhow::Result<Vec<PreparedSource>> {
    let prepared = sources.iter().filter_map(|source| {
        PreparedSource::new(source, extractor)
            .with_context(|| format!("failed to compile a filter of `{}`", source.name))
            .transpose()
    });
    prepared.collect()
}
