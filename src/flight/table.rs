//! The flights in the air: at most one per source, shared by whoever asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::{Code, Entry, Failure, Identity, Name, Outcome, Time};
use crate::extract::Extractor;
use crate::fetch::Fetch;

use super::Crew;
use super::lane::Lane;
use super::race::{self, Entrant, Gear};

/// What a contained panic is called.
pub(super) const BUG: &str = "a bug of ours stopped this attempt; the log has the place";

/// Takes the outcome of each flight, once, before its waiters wake; and until when its source may not be asked again, if
/// every provider of it wants to be left alone.
pub type Landing = Arc<dyn Fn(Outcome, Option<Time>) + Send + Sync>;

/// Starts flights and tells who may wait for which. Cheap to clone.
pub struct Flights<F> {
    shared: Arc<Shared<F>>,
}

struct Shared<F> {
    gear: Gear<F>,
    landing: Landing,
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    table: Mutex<HashMap<Name, Lane>>,
}

/// One attempt in the air.
#[derive(Debug, Clone)]
pub struct Flight {
    /// When it began.
    pub began: Time,
    landed: CancellationToken,
    abort: CancellationToken,
}

/// The answer to a wish for a flight.
#[derive(Debug, Clone)]
pub enum Ask {
    /// It flies.
    Flying {
        /// The attempt to wait for.
        flight: Flight,
        /// Whether it was in the air already.
        joined: bool,
    },
    /// Nobody may start one before `until`: `min_interval`, or a `Retry-After` of every provider.
    Resting {
        /// When one may start.
        until: Time,
    },
    /// There is no such source to fetch, or the program is stopping.
    Grounded,
}

impl Flight {
    /// Waits until its outcome has been published.
    pub async fn landed(&self) {
        self.landed.cancelled().await;
    }

    /// Ends it without an outcome: nobody could use it any more.
    pub(super) fn abort(&self) {
        self.abort.cancel();
    }

    /// Whether both are the same attempt.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.landed == other.landed
    }
}

impl<F> Clone for Flights<F> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<F: Fetch> Flights<F> {
    /// An empty table. Flights run on `runtime`, are counted by `tracker`, and are cancelled by `stop`.
    pub fn new(
        fetch: Arc<F>,
        extractor: Extractor,
        clock: Clock,
        landing: Landing,
        runtime: Handle,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let gear = Gear { fetch, extractor, clock };
        let table = Mutex::default();
        Self { shared: Arc::new(Shared { gear, landing, runtime, tracker, stop, table }) }
    }

    /// Takes over the sources of a configuration. A source that stays keeps its lane, and what is in the air goes on; a
    /// flight whose outcome nobody will want ends, since its source is gone or has other filters now. A new lane learns
    /// from `entry` when its source was asked last and which providers want to be left alone.
    pub fn adopt<'e>(&self, crews: Vec<Crew>, entry: impl Fn(&Name) -> Option<&'e Entry>) {
        let mut table = self.shared.table();
        let mut old = std::mem::take(&mut *table);
        for crew in crews {
            let name = crew.source.name.clone();
            let lane = match old.remove(&name) {
                Some(lane) => lane.manned_by(crew),
                None => Lane::new(crew, entry(&name)),
            };
            table.insert(name, lane);
        }
        old.into_values().for_each(Lane::close);
    }

    /// Wishes for a flight of the source of this name: joins the one in the air, or starts one if it may.
    pub fn ask(&self, name: &Name) -> Ask {
        let shared = &self.shared;
        if shared.stop.is_cancelled() {
            return Ask::Grounded;
        }
        let mut table = shared.table();
        let Some(lane) = table.get_mut(name) else { return Ask::Grounded };
        if let Some(flight) = &lane.flying {
            return Ask::Flying { flight: flight.clone(), joined: true };
        }
        let now = shared.gear.clock.now();
        if let Some(until) = lane.rests_until(now) {
            return Ask::Resting { until };
        }
        let flight = Flight { began: now, landed: CancellationToken::new(), abort: shared.stop.child_token() };
        let entrants = lane.begin(flight.clone());
        let crew = lane.crew.clone();
        drop(table);
        self.start(flight.clone(), crew, entrants);
        Ask::Flying { flight, joined: false }
    }

    /// Flies in a task of its own, and lands in another one, so that even a panic of the race lands.
    fn start(&self, flight: Flight, crew: Crew, entrants: Vec<Entrant>) {
        let shared = Arc::clone(&self.shared);
        let (name, identity) = (crew.source.name.clone(), crew.identity);
        let abort = flight.abort.clone();
        let aloft = Aloft { shared: Arc::clone(&shared), name: name.clone(), flight };
        let flying = Arc::clone(&shared);
        let race = shared.tracker.spawn_on(
            async move {
                tokio::select! {
                    biased;
                    () = abort.cancelled() => None,
                    outcome = race::run(&flying.gear, &crew, entrants) => Some(outcome),
                }
            },
            &shared.runtime,
        );
        let landing = async move {
            match race.await {
                Ok(Some(outcome)) => aloft.shared.land(outcome),
                Ok(None) => {}
                Err(_) => aloft.shared.land(broken(name, identity, aloft.flight.began)),
            }
        };
        shared.tracker.spawn_on(landing, &shared.runtime);
    }
}

impl<F> Shared<F> {
    fn table(&self) -> MutexGuard<'_, HashMap<Name, Lane>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, outcome: Outcome) {
        let now = self.gear.clock.now();
        let held_until = self.table().get_mut(&outcome.source).and_then(|lane| {
            lane.note(&outcome.tries, Some(outcome.at));
            lane.held_until(now)
        });
        (self.landing)(outcome, held_until);
    }
}

/// A flight's place in the table, given up however its task ends.
struct Aloft<F> {
    shared: Arc<Shared<F>>,
    name: Name,
    flight: Flight,
}

impl<F> Drop for Aloft<F> {
    fn drop(&mut self) {
        if let Some(lane) = self.shared.table().get_mut(&self.name)
            && lane.flying.as_ref().is_some_and(|flying| flying.is(&self.flight))
        {
            lane.flying = None;
        }
        self.flight.landed.cancel();
    }
}

fn broken(source: Name, identity: Identity, at: Time) -> Outcome {
    let result = Err(Failure::new(Code::Panic, BUG));
    Outcome { source, identity, at, took: std::time::Duration::ZERO, result, tries: Vec::new() }
}
