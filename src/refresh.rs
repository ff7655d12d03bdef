//! Floor 4: the background task that asks for flights on schedule.
//!
//! Imports `domain`, `cache`, `flight` and `clock`. It never fetches by itself and never waits for a flight, so a slow
//! source cannot delay another: a landing plans the source's next attempt, and the plan wakes this task.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::{Name, Time};
use crate::fetch::Fetch;
use crate::flight::{Ask, Flights};

/// How often the refresher says that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// The least sleep of the machine that matters to the schedule.
const NAP: Duration = Duration::from_secs(1);

/// The refresher's sign of life.
#[derive(Debug)]
pub struct Pulse {
    clock: Clock,
    /// Milliseconds of the clock's waking time at the latest beat.
    beaten: AtomicU64,
}

/// What the refresher is told.
#[derive(Debug, Clone)]
pub enum Order {
    /// An attempt at this source ended; its entry holds the plan.
    Planned(Name),
    /// The sources changed.
    Changed,
}

/// The background task.
pub struct Refresher<F> {
    /// Where to ask.
    pub flights: Flights<F>,
    /// Where the plans are.
    pub cache: Arc<Cache>,
    /// Now.
    pub clock: Clock,
    /// The sign of life.
    pub pulse: Arc<Pulse>,
}

struct Due {
    queue: DelayQueue<Name>,
    keys: HashMap<Name, Key>,
}

impl Pulse {
    /// A pulse that beats now.
    pub fn new(clock: Clock) -> Self {
        let pulse = Self {
            clock,
            beaten: AtomicU64::default(),
        };
        pulse.beat();
        pulse
    }

    /// How long ago the latest beat was. Time that the machine slept through is no silence.
    pub fn silence(&self) -> Duration {
        self.clock
            .awake()
            .saturating_sub(Duration::from_millis(self.beaten.load(Ordering::Relaxed)))
    }

    fn beat(&self) {
        self.beaten
            .store(self.clock.awake().as_millis() as u64, Ordering::Relaxed);
    }
}

impl<F: Fetch> Refresher<F> {
    /// Asks for every source at once, then for each when it is due, until `stop`. Timers do not run while the machine
    /// sleeps: once it is awake, everything is looked at again.
    pub async fn run(&self, orders: &mut UnboundedReceiver<Order>, stop: &CancellationToken) {
        let mut due = Due {
            queue: DelayQueue::new(),
            keys: HashMap::new(),
        };
        self.plan_all(&mut due);
        let mut last = self.clock.mark();
        loop {
            let mark = self.clock.mark();
            if mark.time.since(last.time)
                > mark.instant.saturating_duration_since(last.instant) + NAP
            {
                self.plan_all(&mut due);
            }
            last = mark;
            self.pulse.beat();
            let beat = mark.instant + BEAT;
            let event = next_event(orders, &mut due, beat, stop).await;
            match event {
                Event::Stop => return,
                Event::Beat => {}
                Event::Due(name) => self.ask(&mut due, &name),
                Event::Told(Order::Planned(name)) => self.plan(&mut due, &name),
                Event::Told(Order::Changed) => self.plan_all(&mut due),
            }
        }
    }

    fn ask(&self, due: &mut Due, name: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(pace) = snapshot
            .entry(name.as_str())
            .and_then(|entry| entry.source.pace())
        else {
            return;
        };
        match self.flights.due(name) {
            // Its landing plans the next one; should that be lost, this is soon enough.
            Ask::Flying { .. } | Ask::Grounded => due.arm(name, pace.timeout + pace.interval),
            Ask::Resting { until } => due.arm(name, self.wait(until)),
        }
    }

    /// Arms every fetched source: at once, or when its plan says so; forgets those that are gone.
    fn plan_all(&self, due: &mut Due) {
        let snapshot = self.cache.snapshot();
        due.retain(|name| snapshot.entry(name.as_str()).is_some());
        for entry in snapshot
            .entries()
            .iter()
            .filter(|entry| entry.source.pace().is_some())
        {
            let wait = entry
                .trail
                .next
                .map_or(Duration::ZERO, |next| self.wait(next));
            due.arm(&entry.source.name, wait);
        }
    }

    fn plan(&self, due: &mut Due, name: &Name) {
        let next = self
            .cache
            .snapshot()
            .entry(name.as_str())
            .and_then(|entry| entry.trail.next);
        if let Some(next) = next {
            due.arm(name, self.wait(next));
        }
    }

    fn wait(&self, until: Time) -> Duration {
        until.since(self.clock.now())
    }
}

enum Event {
    Stop,
    Beat,
    Due(Name),
    Told(Order),
}

async fn next_event(
    orders: &mut UnboundedReceiver<Order>,
    due: &mut Due,
    beat: Instant,
    stop: &CancellationToken,
) -> Event {
    tokio::select! {
        () = stop.cancelled() => Event::Stop,
        Some(order) = orders.recv() => Event::Told(order),
        Some(name) = due.next() => Event::Due(name),
        () = sleep_until(beat) => Event::Beat,
    }
}

impl Due {
    fn arm(&mut self, name: &Name, wait: Duration) {
        if let Some(key) = self.keys.get(name) {
            self.queue.reset(key, wait);
        } else {
            let key = self.queue.insert(name.clone(), wait);
            self.keys.insert(name.clone(), key);
        }
    }

    async fn next(&mut self) -> Option<Name> {
        let expired = std::future::poll_fn(|context| self.queue.poll_expired(context)).await?;
        let name = expired.into_inner();
        self.keys.remove(&name);
        Some(name)
    }

    fn retain(&mut self, keep: impl Fn(&Name) -> bool) {
        let gone: Vec<Name> = self
            .keys
            .keys()
            .filter(|name| !keep(name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(key) = self.keys.remove(&name) {
                self.queue.remove(&key);
            }
        }
    }
}
