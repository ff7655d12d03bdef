//! The flights in the air: at most one per source, shared by whoever asks.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{
    Code, Failure, Name, Outcome, SourceIdentity, SourceRecord, SourceState, Time,
};
use crate::extract::Extractor;
use crate::fetch::Fetch;
use crate::process::Clock;
use crate::replicas::{LeaseContext, LeaseDecision, LeaseHandle, LocalReplica, ShareParams};

use super::flight::Flight;
use super::prepared_source::PreparedSource;
use super::race;
use super::race::{Candidate, RaceDeps};
use super::source_slot::SourceSlot;

/// What a contained panic is called.
pub(crate) const PANIC_MESSAGE: &str = "a bug of ours stopped this attempt; the log has the place";

/// What a landing is told of.
#[derive(Debug)]
pub enum Completion {
    /// A flight ended with this, told once, before its waiters wake.
    Local(Outcome),
    /// Another replica knows this.
    Remote(SourceRecord),
    /// A flight ended without an outcome: the next one is as it was planned.
    Cancelled(Name),
}

/// Takes arrivals, and until when a source may not be asked again, if every provider of it wants to be left alone. Gives
/// what is known after a flight, for other replicas.
pub(super) type OnComplete =
    Arc<dyn Fn(Completion, Option<Time>) -> Option<SourceRecord> + Send + Sync>;

/// Starts flights and tells who may wait for which. Cheap to clone.
pub struct Flights {
    inner: Arc<FlightsInner>,
}

struct FlightsInner {
    deps: RaceDeps,
    on_complete: OnComplete,
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    slots: Mutex<HashMap<Name, SourceSlot>>,
    /// The other replicas, if calls are shared with any.
    replica: Option<Arc<LocalReplica>>,
}

/// The answer to a wish for a flight.
#[derive(Debug, Clone)]
pub enum FlightStatus {
    /// It flies.
    InFlight {
        /// The attempt to wait for.
        flight: Flight,
        /// Whether it was in the air already.
        was_joined: bool,
    },
    /// Nobody may start one before `until`: `min_interval`, or a `Retry-After` of every provider.
    HeldBack {
        /// When one may start.
        until: Time,
    },
    /// There is no such source to fetch, or the program is stopping.
    Unavailable,
}

impl Clone for Flights {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl Flights {
    /// An empty table. Flights run on `runtime`, are counted by `tracker`, and are cancelled by `stop`. With a `fleet`,
    /// they ask it for leave first.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one thing that the table needs, named by its type"
    )]
    pub fn new(
        fetch: Arc<dyn Fetch>,
        extractor: Extractor,
        clock: Clock,
        landing: OnComplete,
        runtime: Handle,
        tracker: TaskTracker,
        stop: CancellationToken,
        fleet: Option<Arc<LocalReplica>>,
    ) -> Self {
        let gear = RaceDeps {
            fetch,
            extractor,
            clock,
        };
        let table = Mutex::default();
        Self {
            inner: Arc::new(FlightsInner {
                deps: gear,
                on_complete: landing,
                runtime,
                tracker,
                stop,
                slots: table,
                replica: fleet,
            }),
        }
    }

    /// Takes over the sources of a configuration. A source that stays keeps its lane, and what is in the air goes on; a
    /// flight whose outcome nobody will want ends, since its source is gone or has other filters now. A new lane learns
    /// from `entry` when its source was asked last and which providers want to be left alone.
    pub fn replace_sources<'e>(
        &self,
        crews: Vec<PreparedSource>,
        entry: impl Fn(&Name) -> Option<&'e SourceState>,
    ) {
        let mut table = self.inner.lock_slots();
        let mut old = std::mem::take(&mut *table);
        for crew in crews {
            let name = crew.source.name.clone();
            let lane = match old.remove(&name) {
                Some(lane) => lane.with_definition(crew),
                None => SourceSlot::new(crew, entry(&name)),
            };
            table.insert(name, lane);
        }
        old.into_values().for_each(SourceSlot::abort_flight);
    }

    /// Wishes for a flight of the source of this name, for somebody who waits for it: joins the one in the air, or starts
    /// one if it may.
    pub fn request_live(&self, name: &Name) -> FlightStatus {
        let asked = self.request_scheduled(name);
        if let FlightStatus::InFlight { flight, .. } = &asked {
            flight.mark_urgent();
        }
        asked
    }

    /// The same for the schedule: another replica's outcome of late will do.
    pub fn request_scheduled(&self, name: &Name) -> FlightStatus {
        let shared = &self.inner;
        if shared.stop.is_cancelled() {
            return FlightStatus::Unavailable;
        }
        let mut table = shared.lock_slots();
        let Some(lane) = table.get_mut(name) else {
            return FlightStatus::Unavailable;
        };
        if let Some(flight) = &lane.in_flight {
            return FlightStatus::InFlight {
                flight: flight.clone(),
                was_joined: true,
            };
        }
        let now = shared.deps.clock.now();
        if let Some(until) = lane.held_back_until(now) {
            return FlightStatus::HeldBack { until };
        }
        let flight = Flight::new(now, shared.stop.child_token());
        let before = lane.register_flight(&flight);
        let leg = FlightRequest {
            name: name.clone(),
            identity: lane.prepared.identity,
            flight: flight.clone(),
            previous_reported: before,
        };
        drop(table);
        self.start_flight(leg);
        FlightStatus::InFlight {
            flight,
            was_joined: false,
        }
    }

    /// Tells the fetcher when the next call of a source is due.
    pub fn expect_call(&self, name: &Name, at: Instant) {
        let slots = self.inner.lock_slots();
        let slot = slots.get(name);
        if let Some((provider, _)) = slot.and_then(|slot| slot.prepared.providers.first()) {
            self.inner.deps.fetch.expect_call(name, provider, at);
        }
    }

    /// Takes in what another replica knows.
    pub fn publish_remote(&self, saved: SourceRecord) {
        self.inner.complete_remote(saved);
    }

    /// Flies in a task of its own, and lands in another one, so that even a panic of the race lands.
    fn start_flight(&self, leg: FlightRequest) {
        let shared = Arc::clone(&self.inner);
        let (name, identity, flight) = (leg.name.clone(), leg.identity, leg.flight.clone());
        let aloft = InFlightGuard {
            inner: Arc::clone(&shared),
            name: name.clone(),
            flight: flight.clone(),
        };
        let flying = Arc::clone(&shared);
        let race = shared.tracker.spawn_on(
            async move {
                tokio::select! {
                    biased;
                    () = leg.flight.abort_token().cancelled() => None,
                    outcome = flying.run_flight(&leg) => outcome,
                }
            },
            &shared.runtime,
        );
        let landing = async move {
            let known = match race.await {
                Ok(Some(outcome)) => aloft.inner.complete_local(outcome),
                Ok(None) => aloft.inner.complete_cancelled(&name),
                Err(_) => aloft.inner.complete_local(panic_outcome(
                    name.clone(),
                    identity,
                    flight.started_at(),
                )),
            };
            let shared = Arc::clone(&aloft.inner);
            drop(aloft);
            let _settled = flight.reported_token().clone().drop_guard();
            shared
                .report_to_replicas(&name, flight.take_lease(), known)
                .await;
        };
        shared.tracker.spawn_on(landing, &shared.runtime);
    }
}

/// One wish for a flight that is to be granted.
struct FlightRequest {
    name: Name,
    identity: SourceIdentity,
    flight: Flight,
    /// What is cancelled when other replicas have been told of the flight before.
    previous_reported: Option<CancellationToken>,
}

impl FlightsInner {
    /// Calls the providers, once other replicas have nothing against it. None if there is no outcome of its own.
    async fn run_flight(&self, leg: &FlightRequest) -> Option<Outcome> {
        if let Some(fleet) = &self.replica
            && !self.acquire_lease(fleet, leg).await
        {
            return None;
        }
        let (crew, entrants) = self.start_attempt(leg)?;
        Some(race::race_providers(&self.deps, &crew, entrants, leg.flight.priority()).await)
    }

    /// Asks the fleet for leave; false if there is nothing to fly for any more.
    async fn acquire_lease(&self, fleet: &LocalReplica, leg: &FlightRequest) -> bool {
        if let Some(before) = &leg.previous_reported {
            before.cancelled().await;
        }
        let Some((pace, known)) = self
            .lock_slots()
            .get(&leg.name)
            .map(|lane| (lane.prepared.schedule, lane.newest_attempt()))
        else {
            return false;
        };
        let hear = |saved| self.complete_remote(saved);
        let passage = LeaseContext {
            identity: leg.identity,
            schedule: pace,
            newest_attempt: known,
            is_urgent: leg.flight.urgent_flag(),
            publish_remote: &hear,
        };
        match fleet.acquire_lease(&passage).await {
            LeaseDecision::Proceed(ticket) => {
                leg.flight.set_lease(ticket);
                return true;
            }
            LeaseDecision::Superseded(at) => {
                at.into_iter().for_each(|at| leg.flight.mark_superseded(at))
            }
            LeaseDecision::HoldBack(until) => {
                if let Some(lane) = self.lock_slots().get_mut(&leg.name) {
                    lane.hold_back_until(until);
                }
            }
        }
        false
    }

    /// Marks the flight as begun. None if there is nobody to ask any more: a reload, or a `Retry-After` heard meanwhile.
    fn start_attempt(&self, leg: &FlightRequest) -> Option<(PreparedSource, Vec<Candidate>)> {
        let now = self.deps.clock.now();
        let mut table = self.lock_slots();
        let lane = table.get_mut(&leg.name)?;
        if lane.providers_held_until(now).is_some() {
            return None;
        }
        // Who waited for others began later than wished for; who did not, when it was.
        if self.replica.is_some() {
            leg.flight.set_started_at(now);
        }
        let entrants = lane.start_attempt(leg.flight.started_at());
        Some((lane.prepared.clone(), entrants))
    }
}

impl FlightsInner {
    fn lock_slots(&self) -> MutexGuard<'_, HashMap<Name, SourceSlot>> {
        self.slots.lock()
    }

    fn complete_local(&self, outcome: Outcome) -> Option<SourceRecord> {
        let now = self.deps.clock.now();
        let held_until = self.lock_slots().get_mut(&outcome.source).and_then(|lane| {
            lane.record_outcome(&outcome);
            lane.providers_held_until(now)
        });
        (self.on_complete)(Completion::Local(outcome), held_until)
    }

    fn complete_remote(&self, saved: SourceRecord) {
        let now = self.deps.clock.now();
        let held_until = {
            let mut table = self.lock_slots();
            let lane = table
                .get_mut(&saved.name)
                .filter(|lane| lane.prepared.identity == saved.identity);
            let Some(lane) = lane else { return };
            lane.record_remote(&saved);
            lane.providers_held_until(now)
        };
        (self.on_complete)(Completion::Remote(saved), held_until);
    }

    fn complete_cancelled(&self, name: &Name) -> Option<SourceRecord> {
        (self.on_complete)(Completion::Cancelled(name.clone()), None)
    }

    /// Tells other replicas what is known after a flight, and gives back its lease.
    async fn report_to_replicas(
        &self,
        name: &Name,
        ticket: Option<LeaseHandle>,
        known: Option<SourceRecord>,
    ) {
        let Some(fleet) = &self.replica else { return };
        let terms = self
            .lock_slots()
            .get(name)
            .and_then(|lane| ShareParams::from_source(&lane.prepared.source));
        match (terms, known, ticket) {
            (Some(terms), Some(known), ticket) => {
                fleet.report_and_release(ticket, known, terms).await
            }
            (_, _, Some(ticket)) => fleet.release_lease(ticket).await,
            _ => {}
        }
    }
}

/// A flight's place in the table, given up however its task ends.
struct InFlightGuard {
    inner: Arc<FlightsInner>,
    name: Name,
    flight: Flight,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(lane) = self.inner.lock_slots().get_mut(&self.name)
            && lane
                .in_flight
                .as_ref()
                .is_some_and(|flying| flying.is_same_flight(&self.flight))
        {
            lane.in_flight = None;
        }
        self.flight.mark_completed();
    }
}

fn panic_outcome(source: Name, identity: SourceIdentity, at: Time) -> Outcome {
    let result = Err(Failure::new(Code::Panic, PANIC_MESSAGE));
    Outcome {
        source,
        identity,
        started_at: at,
        duration: std::time::Duration::ZERO,
        result,
        provider_attempts: Vec::new(),
    }
}
