//! Everything behind the sockets: sources, flights, the cell, the background tasks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aggregate::Cache;
use crate::aggregate::DerivedTask;
use crate::aggregate::LiveFetcher;
use crate::aggregate::{Flights, PreparedSource};
use crate::aggregate::{LivenessBeat, RefreshCommand, Refresher};
use crate::aggregate::{PersistErrorHook, Persister};
use crate::domain::{Name, Outcome, Snapshot, Source, SourceSet};
use crate::extract::Extractor;
use crate::fetch::Fetch;
use crate::process::Clock;
use crate::process::Supervisor;
use crate::replicas::ReplicaSync;
use crate::replicas::SharedStore;
use crate::replicas::{LocalReplica, ReplicaErrorHook};
use crate::store::StateFile;

use crate::aggregate::{make_completion_handler, make_replan_callback};

/// What an engine runs on.
pub struct CoreDeps {
    /// How providers are asked.
    pub fetch: Arc<dyn Fetch>,
    /// How their answers are read.
    pub extractor: Extractor,
    /// Now.
    pub clock: Clock,
    /// Where flights and background tasks run.
    pub runtime: Handle,
    /// Who counts them.
    pub tracker: TaskTracker,
    /// Cancelled to stop them.
    pub stop: CancellationToken,
    /// Sees every outcome once, before it is published.
    pub outcome_observer: Arc<dyn Fn(&Outcome) + Send + Sync>,
    /// Where readings survive, and who is told when it fails; none if they need not.
    pub state_file: Option<(StateFile, PersistErrorHook)>,
    /// The store that replicas share, and who is told when it fails; none if there is only this one.
    pub shared_store: Option<(Arc<dyn SharedStore>, ReplicaErrorHook)>,
}

/// The aggregator without its sockets.
pub struct AppCore {
    /// The cell.
    pub cache: Arc<Cache>,
    /// Fan-outs for single requests.
    pub live: Arc<LiveFetcher>,
    /// The refresher's sign of life.
    pub liveness_beat: Arc<LivenessBeat>,
    /// Now.
    pub clock: Clock,
    /// Keeps the background tasks going.
    pub supervisor: Supervisor,
    /// Whether readings of an earlier run were there at the start.
    pub was_restored: bool,
    /// This replica as one of several, if calls and readings are shared.
    pub replica: Option<Arc<LocalReplica>>,
    flights: Flights,
    refresh_commands: UnboundedSender<RefreshCommand>,
    persister: Option<Arc<Persister>>,
    deps: CoreDeps,
}

impl AppCore {
    /// An engine for these sources that runs by itself: it knows what the state file tells, asks for every source now,
    /// and then on schedule. Blocks on the disk for a moment.
    pub fn start(
        gear: CoreDeps,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let (engine, inbox) = Self::build(gear, sources, timeout)?;
        engine.spawn_refresher(inbox);
        engine.spawn_persister();
        engine.spawn_replica_sync();
        Ok(engine)
    }

    /// An engine for these sources that fetches only for live rounds.
    pub fn build_on_demand(
        gear: CoreDeps,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self::build(gear, sources, timeout)?.0)
    }

    /// Takes over another configuration's sources, all of them or none: readings of unchanged ones are kept.
    pub fn replace_sources(
        &self,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<()> {
        let crews = prepare_sources(sources, &self.deps.extractor)?;
        self.cache
            .replace_sources(Arc::new(SourceSet::new(sources.to_vec())), timeout);
        self.install_prepared_sources(crews);
        // The refresher is gone only when the program stops.
        let _ = self.refresh_commands.send(RefreshCommand::SourcesChanged);
        Ok(())
    }

    /// Saves what is known once more. Last of all, when nothing is published any more.
    pub async fn save_state(&self) {
        if let Some(saver) = &self.persister {
            saver.save_now().await;
        }
    }

    fn build(
        mut gear: CoreDeps,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<(Self, tokio::sync::mpsc::UnboundedReceiver<RefreshCommand>)> {
        let crews = prepare_sources(sources, &gear.extractor)?;
        let roster = Arc::new(SourceSet::new(sources.to_vec()));
        let cache = Arc::new(Cache::new(Snapshot::new(roster), timeout));
        let saver = gear.state_file.take().map(|(file, mishap)| {
            let cache = Arc::clone(&cache);
            Arc::new(Persister::new(file, cache, gear.clock, mishap))
        });
        // Before anything else, so that no provider is asked before what it told last is known.
        let restored = saver.as_ref().is_some_and(|saver| saver.restore_state());
        let (orders, inbox) = unbounded_channel();
        let fleet = gear
            .shared_store
            .as_ref()
            .map(|(_, mishap)| Arc::new(LocalReplica::new(gear.clock, Arc::clone(mishap))));
        let flights = Flights::new(
            Arc::clone(&gear.fetch),
            gear.extractor.clone(),
            gear.clock,
            make_completion_handler(
                Arc::clone(&cache),
                orders.clone(),
                Arc::clone(&gear.outcome_observer),
                fleet.clone(),
            ),
            gear.runtime.clone(),
            gear.tracker.clone(),
            gear.stop.clone(),
            fleet.clone(),
        );
        let live = Arc::new(LiveFetcher::new(
            flights.clone(),
            Arc::clone(&cache),
            gear.clock,
        ));
        let pulse = Arc::new(LivenessBeat::new(gear.clock));
        let clock = gear.clock;
        let supervisor = Supervisor::new(
            gear.runtime.clone(),
            gear.tracker.clone(),
            gear.stop.clone(),
            clock,
        );
        let engine = Self {
            cache,
            live,
            liveness_beat: pulse,
            clock,
            supervisor,
            was_restored: restored,
            replica: fleet,
            flights,
            refresh_commands: orders,
            persister: saver,
            deps: gear,
        };
        engine.install_prepared_sources(crews);
        engine.spawn_derived_task();
        Ok((engine, inbox))
    }

    fn install_prepared_sources(&self, crews: Vec<PreparedSource>) {
        let snapshot = self.cache.snapshot();
        self.flights.replace_sources(crews, |name: &Name| {
            snapshot.source_state(name.as_str()).map(|entry| &**entry)
        });
    }

    fn spawn_refresher(&self, inbox: tokio::sync::mpsc::UnboundedReceiver<RefreshCommand>) {
        let refresher = Arc::new(Refresher {
            flights: self.flights.clone(),
            cache: Arc::clone(&self.cache),
            clock: self.clock,
            liveness: Arc::clone(&self.liveness_beat),
        });
        // A mutex, so that a refresher that is started again finds the inbox of the one before.
        let inbox = Arc::new(Mutex::new(inbox));
        let stop = self.deps.stop.clone();
        self.supervisor.spawn_task("refresher", move || {
            let (refresher, inbox, stop) =
                (Arc::clone(&refresher), Arc::clone(&inbox), stop.clone());
            async move { refresher.run(&mut *inbox.lock().await, &stop).await }
        });
    }

    fn spawn_persister(&self) {
        let Some(saver) = self.persister.clone() else {
            return;
        };
        let stop = self.deps.stop.clone();
        self.supervisor.spawn_task("saver", move || {
            let (saver, stop) = (Arc::clone(&saver), stop.clone());
            async move { saver.run(&stop).await }
        });
    }

    fn spawn_replica_sync(&self) {
        let (Some(fleet), Some((store, _))) = (&self.replica, &self.deps.shared_store) else {
            return;
        };
        let keeper = Arc::new(ReplicaSync {
            store: Arc::clone(store),
            replica: Arc::clone(fleet),
            flights: self.flights.clone(),
            cache: Arc::clone(&self.cache),
            clock: self.clock,
            replan_sources: make_replan_callback(
                Arc::clone(&self.cache),
                self.refresh_commands.clone(),
                Arc::clone(fleet),
            ),
        });
        let stop = self.deps.stop.clone();
        self.supervisor.spawn_task("keeper", move || {
            let (keeper, stop) = (Arc::clone(&keeper), stop.clone());
            async move { keeper.run(&stop).await }
        });
    }

    fn spawn_derived_task(&self) {
        let (cache, extractor) = (Arc::clone(&self.cache), self.deps.extractor.clone());
        let deriver = Arc::new(DerivedTask {
            cache,
            extractor,
            clock: self.clock,
        });
        let stop = self.deps.stop.clone();
        self.supervisor.spawn_task("deriver", move || {
            let (deriver, stop) = (Arc::clone(&deriver), stop.clone());
            async move { deriver.run(&stop).await }
        });
    }
}

fn prepare_sources(
    sources: &[Arc<Source>],
    extractor: &Extractor,
) -> anyhow::Result<Vec<PreparedSource>> {
    let crew = |source| {
        let crew = PreparedSource::new(source, extractor);
        crew.with_context(|| format!("failed to compile a filter of `{}`", source.name))
    };
    sources
        .iter()
        .filter_map(|source| crew(source).transpose())
        .collect()
}
