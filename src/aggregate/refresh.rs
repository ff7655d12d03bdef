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
use tracing::warn;

use crate::domain::{Name, Time};
use crate::fetch::Endpoint;
use crate::process::Clock;

use super::cache::Cache;
use super::flights::{FlightStatus, Flights};
use super::refresh_command::RefreshCommand;
use super::turns::Turns;

/// Time between two liveness beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Part of its interval that an attempt waits at most for its turn at a host.
const MAX_TURN_WAIT_PART: u32 = 4;

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

    /// Shifts the times that are output if the wall clock was set.
    fn follow_wall_clock(&self) {
        let Some(step_ms) = self.clock.follow_wall_clock() else {
            return;
        };
        self.cache.set_clock_shift(self.clock.shift());
        warn!(
            step_ms,
            "wall clock was set: times that are output follow it, ages and schedules do not change"
        );
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
        let mut turns = Turns::default();
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
            self.follow_wall_clock();
            for source in turns.take_ready(now.instant) {
                self.request_flight(&mut due, &mut turns, &source);
            }
            let next_beat = now.instant + BEAT_INTERVAL;
            let wake_at = turns.next_start().map_or(next_beat, |at| at.min(next_beat));
            match next_event(&mut commands, &mut due, wake_at, stop).await {
                RefreshEvent::Stop => return,
                RefreshEvent::BeatDue => {}
                RefreshEvent::SourceDue(source) => self.enqueue_attempt(&mut turns, &source),
                RefreshEvent::Command(RefreshCommand::Planned { source, at }) => {
                    turns.end(&source);
                    self.schedule_at(&mut due, &source, at);
                }
                RefreshEvent::Command(RefreshCommand::PlanUnchanged(source)) => {
                    turns.end(&source);
                    self.schedule_from_snapshot(&mut due, &source);
                }
                RefreshEvent::Command(RefreshCommand::SourcesChanged) => {
                    let snapshot = self.cache.snapshot();
                    let is_known = |name: &Name| snapshot.source_state(name.as_str()).is_some();
                    turns.retain_sources(is_known);
                    self.schedule_all(&mut due);
                }
            }
        }
    }

    /// Queues a due attempt for its turn at the host and port of the source's first provider.
    fn enqueue_attempt(&self, turns: &mut Turns, source: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(state) = snapshot.source_state(source.as_str()) else {
            return;
        };
        let provider = state.source.providers().first();
        let endpoint = provider.and_then(|first| Endpoint::from_url(&first.request.url));
        if let (Some(endpoint), Some(schedule)) = (endpoint, state.source.schedule()) {
            let now = self.clock.instant();
            turns.enqueue(
                endpoint,
                source,
                now,
                schedule.interval / MAX_TURN_WAIT_PART,
            );
        }
    }

    fn request_flight(&self, due: &mut DueQueue, turns: &mut Turns, source: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(schedule) = snapshot
            .source_state(source.as_str())
            .and_then(|state| state.source.schedule())
        else {
            // A reload has removed the source or made it derived.
            turns.end(source);
            return;
        };
        match self.flights.request_scheduled(source) {
            // The completion sends a plan; this timer covers a completion that panics.
            FlightStatus::InFlight { .. } => {
                due.set_timer(source, schedule.timeout + schedule.interval);
            }
            FlightStatus::Unavailable => {
                turns.end(source);
                due.set_timer(source, schedule.timeout + schedule.interval);
            }
            FlightStatus::HeldBack { until } => {
                turns.end(source);
                self.schedule_at(due, source, until);
            }
        }
    }

    /// Sets the timer of every fetched source, to its planned time or to now, and removes the others.
    fn schedule_all(&self, due: &mut DueQueue) {
        let snapshot = self.cache.snapshot();
        due.retain_sources(|source| snapshot.source_state(source.as_str()).is_some());
        for state in snapshot.source_states() {
            if state.source.schedule().is_some() {
                let source = &state.source.name;
                match state.history.next_attempt {
                    Some(at) => self.schedule_at(due, source, at),
                    None => due.set_timer(source, Duration::ZERO),
                }
            }
        }
    }

    fn schedule_from_snapshot(&self, due: &mut DueQueue, source: &Name) {
        let snapshot = self.cache.snapshot();
        let Some(state) = snapshot.source_state(source.as_str()) else {
            return;
        };
        let Some(schedule) = state.source.schedule() else {
            return;
        };
        if let Some(at) = state.history.next_attempt {
            self.schedule_at(due, source, at);
            return;
        }
        // The attempt is still due: another replica's lease held it back, whose state could not be
        // read. Not at once, because the store may say so again; a reload may have set a sooner timer.
        let retry_at = self.clock.instant() + schedule.min_interval;
        if due
            .deadline(source)
            .is_none_or(|deadline| deadline > retry_at)
        {
            due.set_timer(source, schedule.min_interval);
        }
    }

    /// Sets the timer and announces the request, so that an idle connection is kept for it.
    fn schedule_at(&self, due: &mut DueQueue, source: &Name, at: Time) {
        let delay = at.since(self.clock.now());
        due.set_timer(source, delay);
        self.flights
            .expect_call(source, self.clock.instant() + delay);
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

    fn deadline(&self, source: &Name) -> Option<Instant> {
        self.timer_keys
            .get(source)
            .map(|key| self.queue.deadline(key))
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
