//! The refresher: the background task that requests flights on schedule.
//!
//! It never waits for a flight, so that a slow source delays no other. The completion of an attempt
//! plans the next one and sends the plan to this task.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::domain::{Name, Time};
use crate::process::Clock;

use super::cache::Cache;
use super::flights::{FlightStatus, Flights};
use super::refresh_command::RefreshCommand;

/// Time between two liveness beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest suspension of the machine after which all timers are set again.
const MIN_SUSPEND: Duration = Duration::from_secs(1);

/// The liveness beat of the refresher.
#[derive(Debug)]
pub struct LivenessBeat {
    clock: Clock,
    /// [`Clock::awake_uptime`] at the latest beat, in milliseconds.
    last_beat_ms: AtomicU64,
}

/// The background task.
pub struct Refresher {
    flights: Flights,
    cache: Arc<Cache>,
    clock: Clock,
    liveness: Arc<LivenessBeat>,
    /// Locked by the running task. A restart after a panic continues with the same channel.
    commands: Mutex<UnboundedReceiver<RefreshCommand>>,
}

/// The timers of all sources.
struct DueQueue {
    queue: DelayQueue<Name>,
    timer_keys: HashMap<Name, Key>,
}

enum RefreshEvent {
    Stop,
    BeatDue,
    SourceDue(Name),
    Command(RefreshCommand),
}

impl LivenessBeat {
    /// Returns a beat whose latest one is now.
    pub fn new(clock: Clock) -> Self {
        let beat = Self {
            clock,
            last_beat_ms: AtomicU64::default(),
        };
        beat.record_beat();
        beat
    }

    /// Returns the time since the latest beat, suspensions of the machine excluded.
    pub fn since_last_beat(&self) -> Duration {
        let last_beat = Duration::from_millis(self.last_beat_ms.load(Relaxed));
        self.clock.awake_uptime().saturating_sub(last_beat)
    }

    fn record_beat(&self) {
        let uptime = self.clock.awake_uptime().as_millis() as u64;
        self.last_beat_ms.store(uptime, Relaxed);
    }
}

impl Refresher {
    /// Returns a refresher that receives `commands` and records its beats in `liveness`.
    pub fn new(
        flights: Flights,
        cache: Arc<Cache>,
        clock: Clock,
        liveness: Arc<LivenessBeat>,
        commands: UnboundedReceiver<RefreshCommand>,
    ) -> Self {
        Self {
            flights,
            cache,
            clock,
            liveness,
            commands: Mutex::new(commands),
        }
    }

    /// Requests a flight for every source at once, then for each when it is due, until `stop` is
    /// cancelled.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut commands = self.commands.lock().await;
        // Empty after a restart too: the snapshot has all plans.
        let mut due = DueQueue {
            queue: DelayQueue::new(),
            timer_keys: HashMap::new(),
        };
        self.schedule_all(&mut due);
        let mut previous = self.clock.time_point();
        loop {
            let now = self.clock.time_point();
            // Timers stand still while the machine is suspended: plans are in wall time.
            let passed = now.instant.saturating_duration_since(previous.instant);
            if now.time.since(previous.time) > passed + MIN_SUSPEND {
                self.schedule_all(&mut due);
            }
            previous = now;
            self.liveness.record_beat();
            let next_beat = now.instant + BEAT_INTERVAL;
            match next_event(&mut commands, &mut due, next_beat, stop).await {
                RefreshEvent::Stop => return,
                RefreshEvent::BeatDue => {}
                RefreshEvent::SourceDue(source) => self.request_flight(&mut due, &source),
                RefreshEvent::Command(RefreshCommand::Planned { source, at }) => {
                    due.set_timer(&source, self.delay_until(at));
                }
                RefreshEvent::Command(RefreshCommand::PlanUnchanged(source)) => {
                    self.schedule_from_snapshot(&mut due, &source);
                }
                RefreshEvent::Command(RefreshCommand::SourcesChanged) => {
                    self.schedule_all(&mut due);
                }
            }
        }
    }

    fn request_flight(&self, due: &mut DueQueue, source: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(schedule) = snapshot
            .source_state(source.as_str())
            .and_then(|state| state.source.schedule())
        else {
            // A reload has removed the source or made it derived.
            return;
        };
        let delay = match self.flights.request_scheduled(source) {
            // The completion sends a plan; this timer covers a completion that panics.
            FlightStatus::InFlight { .. } | FlightStatus::Unavailable => {
                schedule.timeout + schedule.interval
            }
            FlightStatus::HeldBack { until } => self.delay_until(until),
        };
        due.set_timer(source, delay);
    }

    /// Sets the timer of every fetched source, to its planned time or to now, and removes the others.
    fn schedule_all(&self, due: &mut DueQueue) {
        let snapshot = self.cache.snapshot();
        due.retain_sources(|source| snapshot.source_state(source.as_str()).is_some());
        for state in snapshot.source_states() {
            if state.source.schedule().is_some() {
                let planned = state.history.next_attempt;
                let delay = planned.map_or(Duration::ZERO, |at| self.delay_until(at));
                due.set_timer(&state.source.name, delay);
            }
        }
    }

    fn schedule_from_snapshot(&self, due: &mut DueQueue, source: &Name) {
        let snapshot = self.cache.snapshot();
        let planned = snapshot
            .source_state(source.as_str())
            .and_then(|state| state.history.next_attempt);
        if let Some(at) = planned {
            due.set_timer(source, self.delay_until(at));
        }
    }

    fn delay_until(&self, at: Time) -> Duration {
        at.since(self.clock.now())
    }
}

async fn next_event(
    commands: &mut UnboundedReceiver<RefreshCommand>,
    due: &mut DueQueue,
    next_beat: Instant,
    stop: &CancellationToken,
) -> RefreshEvent {
    tokio::select! {
        () = stop.cancelled() => RefreshEvent::Stop,
        Some(command) = commands.recv() => RefreshEvent::Command(command),
        Some(source) = due.next_expired() => RefreshEvent::SourceDue(source),
        () = sleep_until(next_beat) => RefreshEvent::BeatDue,
    }
}

impl DueQueue {
    fn set_timer(&mut self, source: &Name, delay: Duration) {
        if let Some(key) = self.timer_keys.get(source) {
            self.queue.reset(key, delay);
        } else {
            let key = self.queue.insert(source.clone(), delay);
            self.timer_keys.insert(source.clone(), key);
        }
    }

    async fn next_expired(&mut self) -> Option<Name> {
        let expired = std::future::poll_fn(|cx| self.queue.poll_expired(cx)).await?;
        let source = expired.into_inner();
        self.timer_keys.remove(&source);
        Some(source)
    }

    fn retain_sources(&mut self, keep: impl Fn(&Name) -> bool) {
        self.timer_keys.retain(|source, key| {
            let kept = keep(source);
            if !kept {
                self.queue.remove(key);
            }
            kept
        });
    }
}
