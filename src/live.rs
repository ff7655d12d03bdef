//! Floor 4: a fan-out for one request, under its own deadline.
//!
//! Imports `domain`, `render`, `cache`, `flight` and `clock`. It asks for flights and waits for them; it never
//! publishes: what a flight brings is in the snapshot before its waiters wake.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use crate::cache::Cache;
use crate::clock::{Clock, Deadline};
use crate::domain::{Entry, Name, Snapshot};
use crate::fetch::Fetch;
use crate::flight::{Ask, Flight, Flights};
use crate::render::{Note, Origin};

/// Answers live requests.
pub struct Live<F> {
    flights: Flights<F>,
    cache: Arc<Cache>,
    clock: Clock,
}

/// What a live round brought: the snapshot to answer from, and what to say of each source of the selection.
#[derive(Debug)]
pub struct Gathered {
    /// The snapshot after the wait.
    pub snapshot: Arc<Snapshot>,
    /// Where the sources of the selection stand in it. A source that a reload removed meanwhile has no place.
    pub selection: Vec<usize>,
    /// One for each of `selection`.
    pub notes: Vec<Note>,
    /// Whether every flight was joined rather than started.
    pub collapsed: bool,
}

/// One fetched source of a round.
struct Leg {
    name: Name,
    flight: Option<Flight>,
    joined: bool,
    waited: Option<Duration>,
    late: bool,
}

impl<F: Fetch> Live<F> {
    /// Asks `flights` and answers from `cache`.
    pub fn new(flights: Flights<F>, cache: Arc<Cache>, clock: Clock) -> Self {
        Self {
            flights,
            cache,
            clock,
        }
    }

    /// Fetches the sources of these names (a derived one's inputs) whose reading is older than `max_age`, and waits for
    /// all of them, at most until the deadline.
    pub async fn gather(&self, names: &[Name], max_age: Duration, deadline: Deadline) -> Gathered {
        let before = self.cache.snapshot();
        let legs: Vec<Leg> = leaves(&before, names)
            .into_iter()
            .map(|name| self.ask(&before, name, max_age))
            .collect();
        let legs = self.wait(legs, deadline).await;
        let flown = legs.iter().any(|leg| leg.flight.is_some());
        if flown && legs.iter().all(|leg| !leg.late) {
            self.wait_for_derived(names, deadline).await;
        }
        let snapshot = self.cache.snapshot();
        let here: Vec<(usize, &Name)> = names
            .iter()
            .filter_map(|n| Some((snapshot.roster().position(n.as_str())?, n)))
            .collect();
        let selection = here.iter().map(|(at, _)| *at).collect();
        let collapsed = flown
            && legs
                .iter()
                .filter(|leg| leg.flight.is_some())
                .all(|leg| leg.joined);
        let legs: HashMap<&Name, &Leg> = legs.iter().map(|leg| (&leg.name, leg)).collect();
        let notes = here
            .iter()
            .map(|(at, name)| note(&snapshot, *at, name, &legs))
            .collect();
        Gathered {
            snapshot,
            selection,
            notes,
            collapsed,
        }
    }

    fn ask(&self, snapshot: &Snapshot, name: Name, max_age: Duration) -> Leg {
        let mut leg = Leg {
            name,
            flight: None,
            joined: false,
            waited: None,
            late: false,
        };
        let now = self.clock.now();
        let young = |entry: &Arc<Entry>| {
            entry
                .reading
                .as_ref()
                .is_some_and(|r| now.since(r.fetched_at) <= max_age)
        };
        if !max_age.is_zero() && snapshot.entry(leg.name.as_str()).is_some_and(young) {
            return leg;
        }
        if let Ask::Flying { flight, joined } = self.flights.ask(&leg.name) {
            leg.flight = Some(flight);
            leg.joined = joined;
        }
        leg
    }

    /// Waits for every flight under the one deadline; how long each took is as seen by this request.
    async fn wait(&self, mut legs: Vec<Leg>, deadline: Deadline) -> Vec<Leg> {
        let begun = self.clock.instant();
        let mut landings = tokio::task::JoinSet::new();
        for (position, leg) in legs.iter().enumerate() {
            if let Some(flight) = leg.flight.clone() {
                let clock = self.clock;
                landings.spawn(async move {
                    let landed = timeout_at(deadline.at, flight.landed()).await.is_ok();
                    (position, landed, clock.instant())
                });
            }
        }
        while let Some(ended) = landings.join_next().await {
            if let Ok((position, landed, at)) = ended {
                legs[position].waited = Some(at.saturating_duration_since(begun));
                legs[position].late = !landed;
                legs[position].joined |= legs[position]
                    .flight
                    .as_ref()
                    .is_some_and(Flight::is_foreign);
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
                .filter_map(|n| snapshot.roster().position(n.as_str()))
                .all(|at| snapshot.derived_is_current(at))
        };
        while !current() {
            if !matches!(timeout_at(deadline.at, changes.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// The fetched sources below these names, each once.
fn leaves(snapshot: &Snapshot, names: &[Name]) -> Vec<Name> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut open: Vec<Name> = names.iter().rev().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(entry) = snapshot.entry(name.as_str()) else {
            continue;
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        match entry.source.pace() {
            Some(_) => found.push(name),
            None => open.extend(entry.source.inputs().iter().rev().cloned()),
        }
    }
    found
}

fn note(snapshot: &Snapshot, position: usize, name: &Name, legs: &HashMap<&Name, &Leg>) -> Note {
    let below = leaves(snapshot, std::slice::from_ref(name));
    let of_this: Vec<&Leg> = below
        .iter()
        .filter_map(|leaf| legs.get(leaf).copied())
        .collect();
    let brought = |leg: &&Leg| {
        leg.flight
            .as_ref()
            .is_some_and(|flight| !leg.late && has(snapshot, &leg.name, flight))
    };
    let entry = &snapshot.entries()[position];
    let fetched = entry.source.pace().is_some();
    let computed = entry.reading.is_some()
        && entry.failing().is_none()
        && snapshot.derived_is_current(position);
    let live = of_this.iter().any(brought) && (fetched || computed);
    let ended = of_this.iter().any(|leg| leg.flight.is_some() && !leg.late);
    Note {
        origin: if live { Origin::Live } else { Origin::Snapshot },
        waited: of_this
            .iter()
            .filter(|_| fetched)
            .find_map(|leg| leg.waited),
        failed: entry
            .failing()
            .filter(|_| fetched && ended && !live)
            .map(|lapse| lapse.failure.code),
        late: of_this
            .iter()
            .find(|leg| leg.late)
            .map(|leg| leg.name.clone()),
    }
}

/// Whether the snapshot's reading of this source is what the flight brought, or newer, and may be used.
fn has(snapshot: &Snapshot, name: &Name, flight: &Flight) -> bool {
    let reading = snapshot
        .entry(name.as_str())
        .and_then(|entry| entry.reading.as_ref());
    reading.is_some_and(|reading| reading.fetched_at >= flight.began())
}
