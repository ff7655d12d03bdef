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

use super::cache::Cache;
use super::flights::{FlightStatus, Flights};
use super::turns::Turns;
use crate::domain::{Name, Time};
use crate::fetch::Endpoint;
use crate::process::Clock;

/// How often the refresher says that it lives.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// An attempt waits for its turn at a host for this part of its interval, at most.
const MAX_TURN_WAIT_PART: u32 = 4;

/// The least sleep of the machine that matters to the schedule.
const MIN_SUSPEND: Duration = Duration::from_secs(1);

/// The refresher's sign of life.
#[derive(Debug)]
pub struct LivenessBeat {
    clock: Clock,
    /// Milliseconds of the clock's waking time at the latest beat.
    last_beat_ms: AtomicU64,
}

/// What the refresher is told.
#[derive(Debug, Clone)]
pub enum RefreshCommand {
    /// An attempt at this source ended; its entry holds the plan.
    AttemptPlanned(Name),
    /// The sources changed.
    SourcesChanged,
}

/// The background task.
pub struct Refresher {
    /// Where to ask.
    pub flights: Flights,
    /// Where the plans are.
    pub cache: Arc<Cache>,
    /// Now.
    pub clock: Clock,
    /// The sign of life.
    pub liveness: Arc<LivenessBeat>,
}

struct DueQueue {
    queue: DelayQueue<Name>,
    timer_keys: HashMap<Name, Key>,
}

impl LivenessBeat {
    /// A pulse that beats now.
    pub fn new(clock: Clock) -> Self {
        let pulse = Self {
            clock,
            last_beat_ms: AtomicU64::default(),
        };
        pulse.record_beat();
        pulse
    }

    /// How long ago the latest beat was. Time that the machine slept through is no silence.
    pub fn since_last_beat(&self) -> Duration {
        self.clock
            .awake_uptime()
            .saturating_sub(Duration::from_millis(
                self.last_beat_ms.load(Ordering::Relaxed),
            ))
    }

    fn record_beat(&self) {
        self.last_beat_ms.store(
            self.clock.awake_uptime().as_millis() as u64,
            Ordering::Relaxed,
        );
    }
}

impl Refresher {
    /// Asks for every source at once, then for each when it is due, until `stop`. Timers do not run while the machine
    /// sleeps: once it is awake, everything is looked at again.
    pub async fn run(
        &self,
        orders: &mut UnboundedReceiver<RefreshCommand>,
        stop: &CancellationToken,
    ) {
        let mut due = DueQueue {
            queue: DelayQueue::new(),
            timer_keys: HashMap::new(),
        };
        let mut turns = Turns::default();
        self.schedule_all(&mut due);
        let mut last = self.clock.time_point();
        loop {
            let mark = self.clock.time_point();
            if mark.time.since(last.time)
                > mark.instant.saturating_duration_since(last.instant) + MIN_SUSPEND
            {
                self.schedule_all(&mut due);
            }
            last = mark;
            self.liveness.record_beat();
            for name in turns.take_ready(mark.instant) {
                self.request_flight(&mut due, &mut turns, &name);
            }
            let beat = mark.instant + BEAT_INTERVAL;
            let wake = turns.next_start().map_or(beat, |start| start.min(beat));
            let event = next_event(orders, &mut due, wake, stop).await;
            match event {
                RefreshEvent::Stop => return,
                RefreshEvent::BeatDue => {}
                RefreshEvent::SourceDue(name) => self.enqueue_attempt(&mut turns, &name),
                RefreshEvent::Command(RefreshCommand::AttemptPlanned(name)) => {
                    turns.end(&name);
                    self.schedule_source(&mut due, &name);
                }
                RefreshEvent::Command(RefreshCommand::SourcesChanged) => {
                    self.schedule_all(&mut due)
                }
            }
        }
    }

    /// Queues an attempt that is due for its turn at the host and port of its first provider.
    fn enqueue_attempt(&self, turns: &mut Turns, name: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(state) = snapshot.source_state(name.as_str()) else {
            return;
        };
        let provider = state.source.providers().first();
        let endpoint = provider.and_then(|first| Endpoint::from_url(&first.request.url));
        if let (Some(endpoint), Some(schedule)) = (endpoint, state.source.schedule()) {
            let now = self.clock.instant();
            turns.enqueue(endpoint, name, now, schedule.interval / MAX_TURN_WAIT_PART);
        }
    }

    fn request_flight(&self, due: &mut DueQueue, turns: &mut Turns, name: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(pace) = snapshot
            .source_state(name.as_str())
            .and_then(|entry| entry.source.schedule())
        else {
            return;
        };
        match self.flights.request_scheduled(name) {
            // The completion plans the next attempt. Should it be lost, this is soon enough.
            FlightStatus::InFlight { .. } => {
                due.schedule_source(name, pace.timeout + pace.interval);
            }
            FlightStatus::Unavailable => {
                turns.end(name);
                due.schedule_source(name, pace.timeout + pace.interval);
            }
            FlightStatus::HeldBack { until } => {
                turns.end(name);
                self.schedule_at(due, name, until);
            }
        }
    }

    /// Arms every fetched source: at once, or when its plan says so; forgets those that are gone.
    fn schedule_all(&self, due: &mut DueQueue) {
        let snapshot = self.cache.snapshot();
        due.retain_sources(|name| snapshot.source_state(name.as_str()).is_some());
        for entry in snapshot
            .source_states()
            .iter()
            .filter(|entry| entry.source.schedule().is_some())
        {
            let name = &entry.source.name;
            match entry.history.next_attempt {
                Some(next) => self.schedule_at(due, name, next),
                None => due.schedule_source(name, Duration::ZERO),
            }
        }
    }

    fn schedule_source(&self, due: &mut DueQueue, name: &Name) {
        let next = self
            .cache
            .snapshot()
            .source_state(name.as_str())
            .and_then(|entry| entry.history.next_attempt);
        if let Some(next) = next {
            self.schedule_at(due, name, next);
        }
    }

    /// Schedules an attempt, and announces its call, so that an idle connection is kept for one that is due soon.
    fn schedule_at(&self, due: &mut DueQueue, name: &Name, at: Time) {
        let wait = at.since(self.clock.now());
        due.schedule_source(name, wait);
        self.flights.expect_call(name, self.clock.instant() + wait);
    }
}

enum RefreshEvent {
    Stop,
    BeatDue,
    SourceDue(Name),
    Command(RefreshCommand),
}

async fn next_event(
    orders: &mut UnboundedReceiver<RefreshCommand>,
    due: &mut DueQueue,
    beat: Instant,
    stop: &CancellationToken,
) -> RefreshEvent {
    tokio::select! {
        () = stop.cancelled() => RefreshEvent::Stop,
        Some(order) = orders.recv() => RefreshEvent::Command(order),
        Some(name) = due.next_expired() => RefreshEvent::SourceDue(name),
        () = sleep_until(beat) => RefreshEvent::BeatDue,
    }
}

impl DueQueue {
    fn schedule_source(&mut self, name: &Name, wait: Duration) {
        if let Some(key) = self.timer_keys.get(name) {
            self.queue.reset(key, wait);
        } else {
            let key = self.queue.insert(name.clone(), wait);
            self.timer_keys.insert(name.clone(), key);
        }
    }

    async fn next_expired(&mut self) -> Option<Name> {
        let expired = std::future::poll_fn(|context| self.queue.poll_expired(context)).await?;
        let name = expired.into_inner();
        self.timer_keys.remove(&name);
        Some(name)
    }

    fn retain_sources(&mut self, keep: impl Fn(&Name) -> bool) {
        let gone: Vec<Name> = self
            .timer_keys
            .keys()
            .filter(|name| !keep(name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(key) = self.timer_keys.remove(&name) {
                self.queue.remove(&key);
            }
        }
    }
}
