//! The single-flight map: at most one flight per source, shared by all its waiters.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{Name, Outcome, Snapshot, SourceIdentity, SourceRecord, Time};
use crate::extract::Extractor;
use crate::fetch::Fetch;
use crate::process::Clock;

use super::complete::CompletionHandler;
use super::coordinator::{LeaseDecision, LeaseRequest, ReplicaCoordinator};
use super::flight::Flight;
use super::prepared_source::PreparedSource;
use super::race::{Candidate, RaceDeps, panic_failure, poll_caught, race_providers};
use super::source_slot::SourceSlot;

/// Maximum number of lease requests of one flight; then it proceeds without a lease.
const MAX_LEASE_REQUESTS: u32 = 16;

/// Starts flights and shares them. Cheap to clone; clones share their flights.
#[derive(Clone)]
pub struct Flights {
    inner: Arc<FlightsInner>,
}

struct FlightsInner {
    deps: RaceDeps,
    completion: CompletionHandler,
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    slots: Mutex<HashMap<Name, SourceSlot>>,
}

/// The result of requesting a flight.
#[derive(Debug, Clone)]
pub enum FlightStatus {
    /// The source has a flight.
    InFlight {
        /// The flight to wait for.
        flight: Flight,
        /// Whether the flight was in progress before the request.
        was_joined: bool,
    },
    /// No flight may start yet, because of `min_interval`, a `Retry-After` of every provider or the lifetime of
    /// the reading.
    HeldBack {
        /// When one may start.
        until: Time,
    },
    /// The source does not exist or is derived, or the program is stopping.
    Unavailable,
}

impl Flights {
    /// Returns an empty map. Flights run on `runtime`, are counted by `tracker`, and are aborted when
    /// `stop` is cancelled.
    pub fn new(
        fetch: Arc<dyn Fetch>,
        extractor: Extractor,
        clock: Clock,
        completion: CompletionHandler,
        runtime: Handle,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(FlightsInner {
                deps: RaceDeps {
                    fetch,
                    extractor,
                    clock,
                },
                completion,
                runtime,
                tracker,
                stop,
                slots: Mutex::default(),
            }),
        }
    }

    /// Replaces the sources. A source that stays keeps its slot and its flight. Flights of sources
    /// that are gone, or whose identity changed, are aborted. A new slot starts from the
    /// earlier attempts in `snapshot`.
    pub fn replace_sources(&self, sources: Vec<PreparedSource>, snapshot: &Snapshot) {
        let mut slots = self.inner.slots.lock();
        let mut old = std::mem::take(&mut *slots);
        for prepared in sources {
            let name = prepared.source.name.clone();
            let slot = if let Some(slot) = old.remove(&name) {
                slot.with_definition(prepared)
            } else {
                let state = snapshot.source_state(name.as_str());
                SourceSlot::new(prepared, state.map(|state| &**state))
            };
            slots.insert(name, slot);
        }
        old.into_values().for_each(SourceSlot::abort_flight);
    }

    /// Requests a flight for a live request: joins the one in progress, or starts one if it may.
    pub fn request_live(&self, name: &Name) -> FlightStatus {
        let status = self.request_scheduled(name);
        if let FlightStatus::InFlight { flight, .. } = &status {
            flight.mark_urgent();
        }
        status
    }

    /// Requests a flight for the schedule. Unlike a live one, it accepts a recent outcome of another
    /// replica instead of an attempt.
    pub fn request_scheduled(&self, name: &Name) -> FlightStatus {
        let inner = &self.inner;
        // The shutdown waits for the tasks in the tracker and must not meet new ones.
        if inner.stop.is_cancelled() {
            return FlightStatus::Unavailable;
        }
        let mut slots = inner.slots.lock();
        let Some(slot) = slots.get_mut(name) else {
            return FlightStatus::Unavailable;
        };
        if let Some(flight) = &slot.in_flight {
            return FlightStatus::InFlight {
                flight: flight.clone(),
                was_joined: true,
            };
        }
        let now = inner.deps.clock.now();
        if let Some(until) = slot.held_back_until(now) {
            return FlightStatus::HeldBack { until };
        }
        let has_replicas = inner.completion.replicas().is_some();
        let flight = Flight::new(now, inner.stop.child_token(), has_replicas);
        let request = FlightRequest {
            name: name.clone(),
            identity: slot.prepared.identity,
            flight: flight.clone(),
            previous_reported: slot.register_flight(&flight),
        };
        // The lock serialises all requests: tasks are spawned after it is released.
        drop(slots);
        self.start_flight(request);
        FlightStatus::InFlight {
            flight,
            was_joined: false,
        }
    }

    /// Announces when the next request of a source to its first provider is due.
    pub fn expect_call(&self, source: &Name, at: Instant) {
        let slots = self.inner.slots.lock();
        let slot = slots.get(source);
        if let Some((provider, _)) = slot.and_then(|slot| slot.prepared.providers.first()) {
            self.inner.deps.fetch.expect_call(source, provider, at);
        }
    }

    /// Publishes the state that another replica published, if it is newer.
    pub fn publish_remote(&self, record: &SourceRecord) {
        self.inner.complete_remote(record);
    }

    /// Plans the next attempts of all sources again, after the number of independent replicas
    /// changed.
    pub fn replan_sources(&self) {
        self.inner.completion.replan_sources();
    }

    /// Races the providers and completes the flight. A panic of the race is an outcome too.
    fn start_flight(&self, request: FlightRequest) {
        let inner = Arc::clone(&self.inner);
        let request = Arc::new(request);
        let in_flight = InFlightGuard {
            inner: Arc::clone(&inner),
            request: Arc::clone(&request),
        };
        let flight = async move {
            // Cancelled however this task ends: the next flight of the source waits for it.
            let _reported =
                (request.flight.reported_token().cloned()).map(CancellationToken::drop_guard);
            let mut race = pin!(async {
                tokio::select! {
                    biased;
                    () = request.flight.abort_token().cancelled() => None,
                    outcome = inner.run_flight(&request) => outcome,
                }
            });
            let ended = poll_fn(|cx| poll_caught(race.as_mut(), cx)).await;
            let record = match ended {
                Ok(Some(outcome)) => inner.complete_local(&outcome),
                Ok(None) => {
                    inner.completion.complete_without_outcome(&request.name);
                    None
                }
                Err(_) => inner.complete_local(&request.panic_outcome()),
            };
            // Waiters wake before the report, which may take the time of a store that hangs.
            drop(in_flight);
            inner.report_to_replicas(&request, record).await;
        };
        self.inner.tracker.spawn_on(flight, &self.inner.runtime);
    }
}

/// A flight that is to start.
struct FlightRequest {
    name: Name,
    identity: SourceIdentity,
    flight: Flight,
    /// Cancelled once the previous flight of the source is reported to the other replicas.
    previous_reported: Option<CancellationToken>,
}

impl FlightRequest {
    fn panic_outcome(&self) -> Outcome {
        Outcome {
            source: self.name.clone(),
            identity: self.identity,
            started_at: self.flight.started_at(),
            duration: Duration::ZERO,
            result: Err(panic_failure()),
            provider_attempts: Vec::new(),
        }
    }
}

impl FlightsInner {
    /// Acquires the lease, then races the providers. `None` if there is no attempt: another replica
    /// has made one, or the source has changed.
    async fn run_flight(&self, request: &FlightRequest) -> Option<Outcome> {
        if let Some(replicas) = self.completion.replicas()
            && !self.acquire_lease(replicas, request).await
        {
            return None;
        }
        let (prepared, candidates) = self.start_attempt(request)?;
        let priority = request.flight.priority();
        let held = self.completion.held_reading(&request.name);
        let held = held.as_deref();
        let outcome = race_providers(&self.deps, &prepared, candidates, priority, held).await;
        Some(self.completion.check_memory(outcome))
    }

    /// Requests the lease of the source until there is a decision. Returns whether the flight may
    /// call the providers.
    async fn acquire_lease(
        &self,
        replicas: &dyn ReplicaCoordinator,
        request: &FlightRequest,
    ) -> bool {
        let flight = &request.flight;
        // Until the previous flight is reported, its lease is still held in the shared store.
        if let Some(reported) = &request.previous_reported {
            reported.cancelled().await;
        }
        let lease_request = {
            let slots = self.slots.lock();
            let Some(slot) = slots.get(&request.name) else {
                return false;
            };
            LeaseRequest {
                identity: request.identity,
                schedule: slot.prepared.schedule,
                newest_attempt: slot.newest_attempt(),
                is_urgent: flight.urgent_flag(),
            }
        };
        for _ in 0..MAX_LEASE_REQUESTS {
            let reply = replicas.request_lease(lease_request).await;
            if let Some(record) = &reply.newer_state {
                self.complete_remote(record);
            }
            match reply.decision {
                LeaseDecision::Proceed(lease) => {
                    flight.set_lease(lease);
                    return true;
                }
                LeaseDecision::Superseded => return false,
                LeaseDecision::Wait(attempt) => {
                    if let Some(started_at) = replicas.wait_for_outcome(&attempt).await {
                        flight.mark_superseded(started_at);
                        return false;
                    }
                }
                LeaseDecision::HoldBack(until) => {
                    if let Some(slot) = self.slots.lock().get_mut(&request.name) {
                        slot.hold_back_until(until);
                    }
                    return false;
                }
                LeaseDecision::Retry => {}
            }
        }
        // The store contradicts itself; a source must not depend on it.
        true
    }

    /// Marks the attempt as started. `None` if a reload removed the source or a hold applies to
    /// all its providers since the request.
    fn start_attempt(&self, request: &FlightRequest) -> Option<(PreparedSource, Vec<Candidate>)> {
        let now = self.deps.clock.now();
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(&request.name)?;
        if slot.provider_calls_held_until(now).is_some() {
            return None;
        }
        // Waiting for a lease delays the attempt; without replicas it starts with the request.
        if self.completion.replicas().is_some() {
            request.flight.set_started_at(now);
        }
        let candidates = slot.start_attempt(request.flight.started_at());
        Some((slot.prepared.clone(), candidates))
    }

    fn complete_local(&self, outcome: &Outcome) -> Option<SourceRecord> {
        let now = self.deps.clock.now();
        // The lock of the slots is never held together with the write lock of the cache.
        let held_until = {
            let mut slots = self.slots.lock();
            slots.get_mut(&outcome.source).and_then(|slot| {
                slot.record_outcome(outcome);
                slot.provider_calls_held_until(now)
            })
        };
        self.completion.complete_flight(outcome, held_until)
    }

    fn complete_remote(&self, record: &SourceRecord) {
        let now = self.deps.clock.now();
        let held_until = {
            let mut slots = self.slots.lock();
            let Some(slot) = slots
                .get_mut(&record.name)
                .filter(|slot| slot.prepared.identity == record.identity)
            else {
                return;
            };
            slot.record_remote(record);
            slot.provider_calls_held_until(now)
        };
        self.completion.complete_remote(record, held_until);
    }

    /// Publishes the state after a flight to the other replicas and releases its lease.
    async fn report_to_replicas(&self, request: &FlightRequest, record: Option<SourceRecord>) {
        let Some(replicas) = self.completion.replicas() else {
            return;
        };
        let source = {
            let slots = self.slots.lock();
            let slot = slots.get(&request.name);
            slot.map(|slot| Arc::clone(&slot.prepared.source))
        };
        match (source, record, request.flight.take_lease()) {
            (Some(source), Some(record), lease) => {
                replicas.publish_and_release(lease, record, &source).await;
            }
            (_, _, Some(lease)) => replicas.release_lease(lease).await,
            (_, _, None) => {}
        }
    }
}

/// Removes the flight from the map and wakes its waiters, however its tasks end.
struct InFlightGuard {
    inner: Arc<FlightsInner>,
    request: Arc<FlightRequest>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let FlightRequest { name, flight, .. } = &*self.request;
        if let Some(slot) = self.inner.slots.lock().get_mut(name)
            // A reload may have replaced the flight by one of the new definition.
            && slot
                .in_flight
                .as_ref()
                .is_some_and(|current| current.is_same_flight(flight))
        {
            slot.in_flight = None;
        }
        flight.mark_completed(self.inner.deps.clock.instant());
    }
}
