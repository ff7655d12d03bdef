//! Everything behind the sockets: sources, flights, the cell, the background tasks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::derive::Deriver;
use crate::domain::{Name, Outcome, Roster, Snapshot, Source};
use crate::extract::Extractor;
use crate::fetch::Fetch;
use crate::fleet::{self, Fleet};
use crate::flight::{Crew, Flights};
use crate::live::Live;
use crate::refresh::{Order, Pulse, Refresher};
use crate::save::{Mishap, Saver};
use crate::share::Keeper;
use crate::store::StateFile;
use crate::store::shared::SharedStore;
use crate::supervise::Supervisor;

use super::landing::{landing, replan};

/// What an engine runs on.
pub struct Gear<F> {
    /// How providers are asked.
    pub fetch: Arc<F>,
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
    pub witness: Arc<dyn Fn(&Outcome) + Send + Sync>,
    /// Where readings survive, and who is told when it fails; none if they need not.
    pub state: Option<(StateFile, Mishap)>,
    /// The store that replicas share, and who is told when it fails; none if there is only this one.
    pub shared: Option<(Arc<dyn SharedStore>, fleet::Mishap)>,
}

/// The aggregator without its sockets.
pub struct Engine<F> {
    /// The cell.
    pub cache: Arc<Cache>,
    /// Fan-outs for single requests.
    pub live: Arc<Live<F>>,
    /// The refresher's sign of life.
    pub pulse: Arc<Pulse>,
    /// Now.
    pub clock: Clock,
    /// Keeps the background tasks going.
    pub supervisor: Supervisor,
    /// Whether readings of an earlier run were there at the start.
    pub restored: bool,
    /// This replica as one of several, if calls and readings are shared.
    pub fleet: Option<Arc<Fleet>>,
    flights: Flights<F>,
    orders: UnboundedSender<Order>,
    saver: Option<Arc<Saver>>,
    gear: Gear<F>,
}

impl<F: Fetch> Engine<F> {
    /// An engine for these sources that runs by itself: it knows what the state file tells, asks for every source now,
    /// and then on schedule. Blocks on the disk for a moment.
    pub fn start(
        gear: Gear<F>,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let (engine, inbox) = Self::build(gear, sources, timeout)?;
        engine.spawn_refresher(inbox);
        engine.spawn_saver();
        engine.spawn_keeper();
        Ok(engine)
    }

    /// An engine for these sources that fetches only for live rounds.
    pub fn idle(gear: Gear<F>, sources: &[Arc<Source>], timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self::build(gear, sources, timeout)?.0)
    }

    /// Takes over another configuration's sources, all of them or none: readings of unchanged ones are kept.
    pub fn adopt(&self, sources: &[Arc<Source>], timeout: Duration) -> anyhow::Result<()> {
        let crews = crews(sources, &self.gear.extractor)?;
        self.cache
            .adopt(Arc::new(Roster::new(sources.to_vec())), timeout);
        self.man(crews);
        // The refresher is gone only when the program stops.
        let _ = self.orders.send(Order::Changed);
        Ok(())
    }

    /// Saves what is known once more. Last of all, when nothing is published any more.
    pub async fn save(&self) {
        if let Some(saver) = &self.saver {
            saver.finish().await;
        }
    }

    fn build(
        mut gear: Gear<F>,
        sources: &[Arc<Source>],
        timeout: Duration,
    ) -> anyhow::Result<(Self, tokio::sync::mpsc::UnboundedReceiver<Order>)> {
        let crews = crews(sources, &gear.extractor)?;
        let roster = Arc::new(Roster::new(sources.to_vec()));
        let cache = Arc::new(Cache::new(Snapshot::new(roster), timeout));
        let saver = gear.state.take().map(|(file, mishap)| {
            let cache = Arc::clone(&cache);
            Arc::new(Saver::new(file, cache, gear.clock, mishap))
        });
        // Before anything else, so that no provider is asked before what it told last is known.
        let restored = saver.as_ref().is_some_and(|saver| saver.restore());
        let (orders, inbox) = unbounded_channel();
        let fleet = gear
            .shared
            .as_ref()
            .map(|(_, mishap)| Arc::new(Fleet::new(gear.clock, Arc::clone(mishap))));
        let flights = Flights::new(
            Arc::clone(&gear.fetch),
            gear.extractor.clone(),
            gear.clock,
            landing(
                Arc::clone(&cache),
                orders.clone(),
                Arc::clone(&gear.witness),
                fleet.clone(),
            ),
            gear.runtime.clone(),
            gear.tracker.clone(),
            gear.stop.clone(),
            fleet.clone(),
        );
        let live = Arc::new(Live::new(flights.clone(), Arc::clone(&cache), gear.clock));
        let pulse = Arc::new(Pulse::new(gear.clock));
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
            pulse,
            clock,
            supervisor,
            restored,
            fleet,
            flights,
            orders,
            saver,
            gear,
        };
        engine.man(crews);
        engine.spawn_deriver();
        Ok((engine, inbox))
    }

    fn man(&self, crews: Vec<Crew>) {
        let snapshot = self.cache.snapshot();
        self.flights.adopt(crews, |name: &Name| {
            snapshot.entry(name.as_str()).map(|entry| &**entry)
        });
    }

    fn spawn_refresher(&self, inbox: tokio::sync::mpsc::UnboundedReceiver<Order>) {
        let refresher = Arc::new(Refresher {
            flights: self.flights.clone(),
            cache: Arc::clone(&self.cache),
            clock: self.clock,
            pulse: Arc::clone(&self.pulse),
        });
        // A mutex, so that a refresher that is started again finds the inbox of the one before.
        let inbox = Arc::new(Mutex::new(inbox));
        let stop = self.gear.stop.clone();
        self.supervisor.keep("refresher", move || {
            let (refresher, inbox, stop) =
                (Arc::clone(&refresher), Arc::clone(&inbox), stop.clone());
            async move { refresher.run(&mut *inbox.lock().await, &stop).await }
        });
    }

    fn spawn_saver(&self) {
        let Some(saver) = self.saver.clone() else {
            return;
        };
        let stop = self.gear.stop.clone();
        self.supervisor.keep("saver", move || {
            let (saver, stop) = (Arc::clone(&saver), stop.clone());
            async move { saver.run(&stop).await }
        });
    }

    fn spawn_keeper(&self) {
        let (Some(fleet), Some((store, _))) = (&self.fleet, &self.gear.shared) else {
            return;
        };
        let keeper = Arc::new(Keeper {
            store: Arc::clone(store),
            fleet: Arc::clone(fleet),
            flights: self.flights.clone(),
            cache: Arc::clone(&self.cache),
            clock: self.clock,
            replan: replan(
                Arc::clone(&self.cache),
                self.orders.clone(),
                Arc::clone(fleet),
            ),
        });
        let stop = self.gear.stop.clone();
        self.supervisor.keep("keeper", move || {
            let (keeper, stop) = (Arc::clone(&keeper), stop.clone());
            async move { keeper.run(&stop).await }
        });
    }

    fn spawn_deriver(&self) {
        let (cache, extractor) = (Arc::clone(&self.cache), self.gear.extractor.clone());
        let deriver = Arc::new(Deriver {
            cache,
            extractor,
            clock: self.clock,
        });
        let stop = self.gear.stop.clone();
        self.supervisor.keep("deriver", move || {
            let (deriver, stop) = (Arc::clone(&deriver), stop.clone());
            async move { deriver.run(&stop).await }
        });
    }
}

fn crews(sources: &[Arc<Source>], extractor: &Extractor) -> anyhow::Result<Vec<Crew>> {
    let crew = |source| {
        let crew = Crew::new(source, extractor);
        crew.with_context(|| format!("failed to compile a filter of `{}`", source.name))
    };
    sources
        .iter()
        .filter_map(|source| crew(source).transpose())
        .collect()
}
