//! The flights in the air: at most one per source, shared by whoever asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::{Code, Entry, Failure, Identity, Name, Outcome, Saved, Time};
use crate::extract::Extractor;
use crate::fetch::Fetch;
use crate::fleet::{Boarding, Fleet, Passage, Terms, Ticket};

use super::Crew;
use super::flight::Flight;
use super::lane::Lane;
use super::race::{self, Entrant, Gear};

/// What a contained panic is called.
pub(super) const BUG: &str = "a bug of ours stopped this attempt; the log has the place";

/// What a landing is told of.
#[derive(Debug)]
pub enum Arrival {
    /// A flight ended with this, told once, before its waiters wake.
    Flown(Outcome),
    /// Another replica knows this.
    Heard(Saved),
    /// A flight ended without an outcome: the next one is as it was planned.
    Back(Name),
}

/// Takes arrivals, and until when a source may not be asked again, if every provider of it wants to be left alone. Gives
/// what is known after a flight, for other replicas.
pub type Landing = Arc<dyn Fn(Arrival, Option<Time>) -> Option<Saved> + Send + Sync>;

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
    /// The other replicas, if calls are shared with any.
    fleet: Option<Arc<Fleet>>,
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

impl<F> Clone for Flights<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: Fetch> Flights<F> {
    /// An empty table. Flights run on `runtime`, are counted by `tracker`, and are cancelled by `stop`. With a `fleet`,
    /// they ask it for leave first.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one thing that the table needs, named by its type"
    )]
    pub fn new(
        fetch: Arc<F>,
        extractor: Extractor,
        clock: Clock,
        landing: Landing,
        runtime: Handle,
        tracker: TaskTracker,
        stop: CancellationToken,
        fleet: Option<Arc<Fleet>>,
    ) -> Self {
        let gear = Gear {
            fetch,
            extractor,
            clock,
        };
        let table = Mutex::default();
        Self {
            shared: Arc::new(Shared {
                gear,
                landing,
                runtime,
                tracker,
                stop,
                table,
                fleet,
            }),
        }
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

    /// Wishes for a flight of the source of this name, for somebody who waits for it: joins the one in the air, or starts
    /// one if it may.
    pub fn ask(&self, name: &Name) -> Ask {
        let asked = self.due(name);
        if let Ask::Flying { flight, .. } = &asked {
            flight.press();
        }
        asked
    }

    /// The same for the schedule: another replica's outcome of late will do.
    pub fn due(&self, name: &Name) -> Ask {
        let shared = &self.shared;
        if shared.stop.is_cancelled() {
            return Ask::Grounded;
        }
        let mut table = shared.table();
        let Some(lane) = table.get_mut(name) else {
            return Ask::Grounded;
        };
        if let Some(flight) = &lane.flying {
            return Ask::Flying {
                flight: flight.clone(),
                joined: true,
            };
        }
        let now = shared.gear.clock.now();
        if let Some(until) = lane.rests_until(now) {
            return Ask::Resting { until };
        }
        let flight = Flight::new(now, shared.stop.child_token());
        let before = lane.assign(&flight);
        let leg = Leg {
            name: name.clone(),
            identity: lane.crew.identity,
            flight: flight.clone(),
            before,
        };
        drop(table);
        self.start(leg);
        Ask::Flying {
            flight,
            joined: false,
        }
    }

    /// Takes in what another replica knows.
    pub fn hear(&self, saved: Saved) {
        self.shared.hear(saved);
    }

    /// Flies in a task of its own, and lands in another one, so that even a panic of the race lands.
    fn start(&self, leg: Leg) {
        let shared = Arc::clone(&self.shared);
        let (name, identity, flight) = (leg.name.clone(), leg.identity, leg.flight.clone());
        let aloft = Aloft {
            shared: Arc::clone(&shared),
            name: name.clone(),
            flight: flight.clone(),
        };
        let flying = Arc::clone(&shared);
        let race = shared.tracker.spawn_on(
            async move {
                tokio::select! {
                    biased;
                    () = leg.flight.aborted().cancelled() => None,
                    outcome = flying.fly(&leg) => outcome,
                }
            },
            &shared.runtime,
        );
        let landing = async move {
            let known = match race.await {
                Ok(Some(outcome)) => aloft.shared.land(outcome),
                Ok(None) => aloft.shared.back(&name),
                Err(_) => aloft
                    .shared
                    .land(broken(name.clone(), identity, flight.began())),
            };
            let shared = Arc::clone(&aloft.shared);
            drop(aloft);
            let _settled = flight.settled().clone().drop_guard();
            shared.tell(&name, flight.take_ticket(), known).await;
        };
        shared.tracker.spawn_on(landing, &shared.runtime);
    }
}

/// One wish for a flight that is to be granted.
struct Leg {
    name: Name,
    identity: Identity,
    flight: Flight,
    /// What is cancelled when other replicas have been told of the flight before.
    before: Option<CancellationToken>,
}

impl<F: Fetch> Shared<F> {
    /// Calls the providers, once other replicas have nothing against it. None if there is no outcome of its own.
    async fn fly(&self, leg: &Leg) -> Option<Outcome> {
        if let Some(fleet) = &self.fleet
            && !self.board(fleet, leg).await
        {
            return None;
        }
        let (crew, entrants) = self.begin(leg)?;
        Some(race::run(&self.gear, &crew, entrants).await)
    }

    /// Asks the fleet for leave; false if there is nothing to fly for any more.
    async fn board(&self, fleet: &Fleet, leg: &Leg) -> bool {
        if let Some(before) = &leg.before {
            before.cancelled().await;
        }
        let Some((pace, known)) = self
            .table()
            .get(&leg.name)
            .map(|lane| (lane.crew.pace, lane.known()))
        else {
            return false;
        };
        let hear = |saved| self.hear(saved);
        let passage = Passage {
            identity: leg.identity,
            pace,
            known,
            pressed: leg.flight.pressed(),
            hear: &hear,
        };
        match fleet.board(&passage).await {
            Boarding::Fly(ticket) => {
                leg.flight.set_ticket(ticket);
                return true;
            }
            Boarding::Told(at) => at.into_iter().for_each(|at| leg.flight.replaced(at)),
            Boarding::Rest(until) => {
                if let Some(lane) = self.table().get_mut(&leg.name) {
                    lane.rest(until);
                }
            }
        }
        false
    }

    /// Marks the flight as begun. None if there is nobody to ask any more: a reload, or a `Retry-After` heard meanwhile.
    fn begin(&self, leg: &Leg) -> Option<(Crew, Vec<Entrant>)> {
        let now = self.gear.clock.now();
        let mut table = self.table();
        let lane = table.get_mut(&leg.name)?;
        if lane.held_until(now).is_some() {
            return None;
        }
        // Who waited for others began later than wished for; who did not, when it was.
        if self.fleet.is_some() {
            leg.flight.begins(now);
        }
        let entrants = lane.begin(leg.flight.began());
        Some((lane.crew.clone(), entrants))
    }
}

impl<F> Shared<F> {
    fn table(&self) -> MutexGuard<'_, HashMap<Name, Lane>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, outcome: Outcome) -> Option<Saved> {
        let now = self.gear.clock.now();
        let held_until = self.table().get_mut(&outcome.source).and_then(|lane| {
            lane.landed(&outcome);
            lane.held_until(now)
        });
        (self.landing)(Arrival::Flown(outcome), held_until)
    }

    fn hear(&self, saved: Saved) {
        let now = self.gear.clock.now();
        let held_until = {
            let mut table = self.table();
            let lane = table
                .get_mut(&saved.name)
                .filter(|lane| lane.crew.identity == saved.identity);
            let Some(lane) = lane else { return };
            lane.hear(&saved);
            lane.held_until(now)
        };
        (self.landing)(Arrival::Heard(saved), held_until);
    }

    fn back(&self, name: &Name) -> Option<Saved> {
        (self.landing)(Arrival::Back(name.clone()), None)
    }

    /// Tells other replicas what is known after a flight, and gives back its lease.
    async fn tell(&self, name: &Name, ticket: Option<Ticket>, known: Option<Saved>) {
        let Some(fleet) = &self.fleet else { return };
        let terms = self
            .table()
            .get(name)
            .and_then(|lane| Terms::of(&lane.crew.source));
        match (terms, known, ticket) {
            (Some(terms), Some(known), ticket) => fleet.land(ticket, known, terms).await,
            (_, _, Some(ticket)) => fleet.free(ticket).await,
            _ => {}
        }
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
            && lane
                .flying
                .as_ref()
                .is_some_and(|flying| flying.is(&self.flight))
        {
            lane.flying = None;
        }
        self.flight.land();
    }
}

fn broken(source: Name, identity: Identity, at: Time) -> Outcome {
    let result = Err(Failure::new(Code::Panic, BUG));
    Outcome {
        source,
        identity,
        at,
        took: std::time::Duration::ZERO,
        result,
        tries: Vec::new(),
    }
}
