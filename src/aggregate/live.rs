//! Floor 4: a fan-out for one request, under its own deadline.
//!
//! Imports `domain`, `render`, `cache`, `flight` and `clock`. It asks for flights and waits for them; it never
//! publishes: what a flight brings is in the snapshot before its waiters wake.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use super::cache::Cache;
use super::flight::Flight;
use super::flights::{FlightStatus, Flights};
use crate::domain::{Name, Snapshot, SourceState};
use crate::process::{Clock, Deadline};
use crate::render::{LiveSourceResult, ReadingOrigin};

/// Answers live requests.
pub struct LiveFetcher {
    flights: Flights,
    cache: Arc<Cache>,
    clock: Clock,
}

/// What a live round brought: the snapshot to answer from, and what to say of each source of the selection.
#[derive(Debug)]
pub struct LiveResult {
    /// The snapshot after the wait.
    pub snapshot: Arc<Snapshot>,
    /// Where the sources of the selection stand in it. A source that a reload removed meanwhile has no place.
    pub positions: Vec<usize>,
    /// One for each of `selection`.
    pub notes: Vec<LiveSourceResult>,
    /// Whether every flight was joined rather than started.
    pub was_collapsed: bool,
}

/// One fetched source of a round.
struct PendingSource {
    name: Name,
    flight: Option<Flight>,
    was_joined: bool,
    wait_time: Option<Duration>,
    is_late: bool,
}

impl LiveFetcher {
    /// Asks `flights` and answers from `cache`.
    pub fn new(flights: Flights, cache: Arc<Cache>, clock: Clock) -> Self {
        Self {
            flights,
            cache,
            clock,
        }
    }

    /// Fetches the sources of these names (a derived one's inputs) whose reading is older than `max_age`, and waits for
    /// all of them, at most until the deadline.
    pub async fn fetch_sources(
        &self,
        names: &[Name],
        max_age: Duration,
        deadline: Deadline,
    ) -> LiveResult {
        let before = self.cache.snapshot();
        let legs: Vec<PendingSource> = collect_fetched_sources(&before, names)
            .into_iter()
            .map(|name| self.request_source(&before, name, max_age))
            .collect();
        let legs = self.wait_for_flights(legs, deadline).await;
        let flown = legs.iter().any(|leg| leg.flight.is_some());
        if flown && legs.iter().all(|leg| !leg.is_late) {
            self.wait_for_derived(names, deadline).await;
        }
        let snapshot = self.cache.snapshot();
        let here: Vec<(usize, &Name)> = names
            .iter()
            .filter_map(|n| Some((snapshot.source_set().position(n.as_str())?, n)))
            .collect();
        let selection = here.iter().map(|(at, _)| *at).collect();
        let collapsed = flown
            && legs
                .iter()
                .filter(|leg| leg.flight.is_some())
                .all(|leg| leg.was_joined);
        let legs: HashMap<&Name, &PendingSource> =
            legs.iter().map(|leg| (&leg.name, leg)).collect();
        let notes = here
            .iter()
            .map(|(at, name)| build_note(&snapshot, *at, name, &legs))
            .collect();
        LiveResult {
            snapshot,
            positions: selection,
            notes,
            was_collapsed: collapsed,
        }
    }

    fn request_source(&self, snapshot: &Snapshot, name: Name, max_age: Duration) -> PendingSource {
        let mut leg = PendingSource {
            name,
            flight: None,
            was_joined: false,
            wait_time: None,
            is_late: false,
        };
        let now = self.clock.now();
        let young = |entry: &Arc<SourceState>| {
            entry
                .reading
                .as_ref()
                .is_some_and(|r| now.since(r.fetched_at) <= max_age)
        };
        if !max_age.is_zero() && snapshot.source_state(leg.name.as_str()).is_some_and(young) {
            return leg;
        }
        if let FlightStatus::InFlight {
            flight,
            was_joined: joined,
        } = self.flights.request_live(&leg.name)
        {
            leg.flight = Some(flight);
            leg.was_joined = joined;
        }
        leg
    }

    /// Waits for every flight under the one deadline; how long each took is as seen by this request.
    async fn wait_for_flights(
        &self,
        mut legs: Vec<PendingSource>,
        deadline: Deadline,
    ) -> Vec<PendingSource> {
        let begun = self.clock.instant();
        let mut landings = tokio::task::JoinSet::new();
        for (position, leg) in legs.iter().enumerate() {
            if let Some(flight) = leg.flight.clone() {
                let clock = self.clock;
                landings.spawn(async move {
                    let landed = timeout_at(deadline.at, flight.wait_for_completion())
                        .await
                        .is_ok();
                    (position, landed, clock.instant())
                });
            }
        }
        while let Some(ended) = landings.join_next().await {
            if let Ok((position, landed, at)) = ended {
                legs[position].wait_time = Some(at.saturating_duration_since(begun));
                legs[position].is_late = !landed;
                legs[position].was_joined |= legs[position]
                    .flight
                    .as_ref()
                    .is_some_and(Flight::is_remote);
            }
        }
        legs
    }

    /// Derived sources are computed right after their inputs land; an answer shows them computed from what it shows.
    async fn wait_for_derived(&self, names: &[Name], deadline: Deadline) {
        let mut changes = self.cache.subscribe();
        let current = || {
            let snapshot = self.cache.snapshot();
            names
                .iter()
                .filter_map(|n| snapshot.source_set().position(n.as_str()))
                .all(|at| snapshot.is_derived_current(at))
        };
        while !current() {
            if !matches!(timeout_at(deadline.at, changes.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// The fetched sources below these names, each once.
fn collect_fetched_sources(snapshot: &Snapshot, names: &[Name]) -> Vec<Name> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut open: Vec<Name> = names.iter().rev().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(entry) = snapshot.source_state(name.as_str()) else {
            continue;
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        match entry.source.schedule() {
            Some(_) => found.push(name),
            None => open.extend(entry.source.inputs().iter().rev().cloned()),
        }
    }
    found
}

fn build_note(
    snapshot: &Snapshot,
    position: usize,
    name: &Name,
    legs: &HashMap<&Name, &PendingSource>,
) -> LiveSourceResult {
    let below = collect_fetched_sources(snapshot, std::slice::from_ref(name));
    let of_this: Vec<&PendingSource> = below
        .iter()
        .filter_map(|leaf| legs.get(leaf).copied())
        .collect();
    let brought = |leg: &&PendingSource| {
        leg.flight
            .as_ref()
            .is_some_and(|flight| !leg.is_late && has_flight_reading(snapshot, &leg.name, flight))
    };
    let entry = &snapshot.source_states()[position];
    let fetched = entry.source.schedule().is_some();
    let computed = entry.reading.is_some()
        && entry.current_failure().is_none()
        && snapshot.is_derived_current(position);
    let live = of_this.iter().any(brought) && (fetched || computed);
    let ended = of_this
        .iter()
        .any(|leg| leg.flight.is_some() && !leg.is_late);
    LiveSourceResult {
        origin: if live {
            ReadingOrigin::Live
        } else {
            ReadingOrigin::Snapshot
        },
        wait_duration: of_this
            .iter()
            .filter(|_| fetched)
            .find_map(|leg| leg.wait_time),
        failure_code: entry
            .current_failure()
            .filter(|_| fetched && ended && !live)
            .map(|lapse| lapse.failure.code),
        late_source: of_this
            .iter()
            .find(|leg| leg.is_late)
            .map(|leg| leg.name.clone()),
    }
}

/// Whether the snapshot's reading of this source is what the flight brought, or newer, and may be used.
fn has_flight_reading(snapshot: &Snapshot, name: &Name, flight: &Flight) -> bool {
    let reading = snapshot
        .source_state(name.as_str())
        .and_then(|entry| entry.reading.as_ref());
    reading.is_some_and(|reading| reading.fetched_at >= flight.started_at())
}
