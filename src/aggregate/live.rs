//! Live requests: a fan-out of flights under the deadline of one request.
//!
//! A live request publishes nothing. The outcome of a flight is in the snapshot before its waiters
//! wake, so that a live answer never shows less than the next answer from the cache.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use crate::domain::{Name, Snapshot, SourceState};
use crate::process::{Clock, Deadline};
use crate::render::{LiveSourceResult, ReadingOrigin};

use super::cache::Cache;
use super::flight::Flight;
use super::flights::{FlightStatus, Flights};

/// Fetches sources for live requests.
pub struct LiveFetcher {
    flights: Flights,
    cache: Arc<Cache>,
    clock: Clock,
}

/// The result of a live request.
#[derive(Debug)]
pub struct LiveResult {
    /// The snapshot after the wait.
    pub snapshot: Arc<Snapshot>,
    /// The positions of the requested sources in the snapshot, in the order of the request. A source
    /// that a reload removed during the wait is left out.
    pub positions: Vec<usize>,
    /// What the request did for each source of `positions`.
    pub notes: Vec<LiveSourceResult>,
    /// Whether every flight was joined rather than started.
    pub was_collapsed: bool,
}

/// A fetched source of a live request.
struct PendingSource {
    name: Name,
    /// `None`: no flight may start, or the reading is young enough.
    flight: Option<Flight>,
    /// Whether the request shares the attempt with an earlier one, here or at another replica.
    was_joined: bool,
    /// How long the request waited for the flight.
    wait_time: Option<Duration>,
    /// Whether the flight was still in progress at the deadline.
    is_late: bool,
}

impl LiveFetcher {
    /// Returns a fetcher that requests `flights` and reads `cache`.
    pub fn new(flights: Flights, cache: Arc<Cache>, clock: Clock) -> Self {
        Self {
            flights,
            cache,
            clock,
        }
    }

    /// Fetches the sources with these names whose reading is older than `max_age`; for a derived
    /// source, its inputs. Waits until all flights ended, at most until `deadline`.
    pub async fn fetch_sources(
        &self,
        names: &[Name],
        max_age: Duration,
        deadline: Deadline,
    ) -> LiveResult {
        let before = self.cache.snapshot();
        // All flights start before the wait for the first one.
        let mut pending: Vec<PendingSource> = collect_fetched_sources(&before, names)
            .into_iter()
            .map(|state| self.request_source(state, max_age))
            .collect();
        self.wait_for_flights(&mut pending, deadline).await;
        let has_flights = pending.iter().any(|source| source.flight.is_some());
        // Derived sources are computed after the completion of their inputs. With a late input, the
        // deadline has passed.
        if has_flights && pending.iter().all(|source| !source.is_late) {
            self.wait_for_derived(names, deadline).await;
        }
        let snapshot = self.cache.snapshot();
        let was_collapsed = has_flights
            && pending
                .iter()
                .filter(|source| source.flight.is_some())
                .all(|source| source.was_joined);
        let by_name: HashMap<&Name, &PendingSource> = pending
            .iter()
            .map(|source| (&source.name, source))
            .collect();
        let (positions, notes) = names
            .iter()
            .filter_map(|name| {
                let position = snapshot.source_set().position(name.as_str())?;
                Some((position, build_note(&snapshot, position, &by_name)))
            })
            .unzip();
        LiveResult {
            snapshot,
            positions,
            notes,
            was_collapsed,
        }
    }

    fn request_source(&self, state: &SourceState, max_age: Duration) -> PendingSource {
        let name = state.source.name.clone();
        let reading = state.reading.as_ref();
        let is_young = !max_age.is_zero()
            && reading.is_some_and(|reading| self.clock.now().since(reading.fetched_at) <= max_age);
        let (flight, was_joined) = if is_young {
            (None, false)
        } else {
            match self.flights.request_live(&name) {
                FlightStatus::InFlight { flight, was_joined } => (Some(flight), was_joined),
                FlightStatus::HeldBack { .. } | FlightStatus::Unavailable => (None, false),
            }
        };
        PendingSource {
            name,
            flight,
            was_joined,
            wait_time: None,
            is_late: false,
        }
    }

    /// Waits for one flight after the other. A flight records when it completed, so that the order of
    /// the waits does not matter.
    async fn wait_for_flights(&self, pending: &mut [PendingSource], deadline: Deadline) {
        let started = self.clock.instant();
        for source in pending {
            let Some(flight) = &source.flight else {
                continue;
            };
            let wait = timeout_at(deadline.at, flight.wait_for_completion());
            source.is_late = wait.await.is_err();
            let ended = flight
                .completed_at()
                .unwrap_or_else(|| self.clock.instant());
            source.wait_time = Some(ended.saturating_duration_since(started));
            source.was_joined |= flight.is_remote();
        }
    }

    /// Waits until derived sources are computed from the inputs that the answer shows.
    async fn wait_for_derived(&self, names: &[Name], deadline: Deadline) {
        // Subscribed before the first look at the snapshot, so that no publication is missed.
        let mut changes = self.cache.subscribe();
        let are_current = || {
            let snapshot = self.cache.snapshot();
            names
                .iter()
                .filter_map(|name| snapshot.source_set().position(name.as_str()))
                .all(|position| snapshot.is_derived_current(position))
        };
        while !are_current() {
            let result = timeout_at(deadline.at, changes.changed()).await;
            if !matches!(result, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Returns the states of the fetched sources on which these sources depend, each once, in the order of `names`.
fn collect_fetched_sources<'s>(snapshot: &'s Snapshot, names: &[Name]) -> Vec<&'s SourceState> {
    let states = snapshot.source_states();
    let positions = |names: &[Name]| -> Vec<usize> {
        let names = names.iter().rev();
        names
            .filter_map(|name| snapshot.source_set().position(name.as_str()))
            .collect()
    };
    let mut is_seen = vec![false; states.len()];
    let mut found = Vec::new();
    let mut stack = positions(names);
    while let Some(position) = stack.pop() {
        if std::mem::replace(&mut is_seen[position], true) {
            continue;
        }
        let state = &*states[position];
        match state.source.schedule() {
            Some(_) => found.push(state),
            None => stack.extend(positions(state.source.inputs())),
        }
    }
    found
}

fn build_note(
    snapshot: &Snapshot,
    position: usize,
    pending: &HashMap<&Name, &PendingSource>,
) -> LiveSourceResult {
    let state = &*snapshot.source_states()[position];
    let is_fetched = state.source.schedule().is_some();
    let fetched = if is_fetched {
        vec![state]
    } else {
        collect_fetched_sources(snapshot, state.source.inputs())
    };
    let sources: Vec<(&SourceState, &PendingSource)> = fetched
        .into_iter()
        .filter_map(|input| Some((input, *pending.get(&input.source.name)?)))
        .collect();
    let has_new_reading = sources.iter().any(|(input, source)| {
        let flight = source.flight.as_ref().filter(|_| !source.is_late);
        flight.is_some_and(|flight| has_flight_reading(input, flight))
    });
    let is_computed = state.reading.is_some()
        && state.current_failure().is_none()
        && snapshot.is_derived_current(position);
    // A derived source is live if one input is and the computation has used it.
    let is_live = has_new_reading && (is_fetched || is_computed);
    let has_ended = sources
        .iter()
        .any(|(_, source)| source.flight.is_some() && !source.is_late);
    LiveSourceResult {
        origin: if is_live {
            ReadingOrigin::Live
        } else {
            ReadingOrigin::Snapshot
        },
        wait_duration: sources
            .iter()
            .filter(|_| is_fetched)
            .find_map(|(_, source)| source.wait_time),
        failure_code: state
            .current_failure()
            .filter(|_| is_fetched && has_ended && !is_live)
            .map(|record| record.failure.code),
        late_source: sources
            .iter()
            .find(|(_, source)| source.is_late)
            .map(|(_, source)| source.name.clone()),
    }
}

/// Returns whether the reading of the source is the one of the flight, or newer.
fn has_flight_reading(state: &SourceState, flight: &Flight) -> bool {
    let reading = state.reading.as_ref();
    reading.is_some_and(|reading| reading.fetched_at >= flight.started_at())
}
