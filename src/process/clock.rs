//! The clock: wall time read once at the start, plus the time that has passed since. Tests can pause
//! it.
//!
//! Deadlines are [`Instant`]s; every time that leaves the program is a [`Time`], shifted by
//! [`Clock::shift`]. No other module reads a clock, so that a step of the machine's wall clock neither
//! ages a reading nor moves a schedule. Time during which the machine is suspended counts for ages but not for deadlines: a
//! request in progress keeps the rest of its time.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::domain::{BootUptime, ClockShift, ClockTimestamps, Time};

/// Shorter suspensions are indistinguishable from the noise of reading two clocks one after the
/// other.
const MIN_SUSPEND_MS: i64 = 100;

/// Smaller differences between the wall clock and this one are drift, not a step.
const MIN_STEP_MS: i64 = 1000;

/// A reading of the wall clock that took longer was interrupted; it is repeated later.
const MAX_READ_TIME: Duration = Duration::from_millis(100);

/// A clock that never steps. Cheap to copy; copies share the shift.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Time,
    started_at: Instant,
    /// Milliseconds that the machine had been suspended between its boot and the start.
    suspended_at_start_ms: i64,
    /// Milliseconds by which the clock was set after its start.
    offset_ms: i64,
    /// Milliseconds from the uptime of the machine to its wall clock, at the start. `None` if the
    /// system has no clock for it.
    wall_ahead_at_start_ms: Option<i64>,
    /// Milliseconds by which the wall clock was set since the start. It lives as long as the process.
    shift_ms: &'static AtomicI64,
}

/// One moment on the clock of durations and as a time that may leave the program.
#[derive(Debug, Clone, Copy)]
pub struct TimePoint {
    /// For durations and deadlines.
    pub instant: Instant,
    /// For everything that leaves the program.
    pub time: Time,
}

/// A deadline and the limit that it was computed from.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When it passes.
    pub at: Instant,
    /// The configured or requested limit, for messages.
    pub limit: Duration,
}

impl Clock {
    /// Returns a clock that starts at the machine's wall time.
    pub fn start() -> Self {
        // A thread that is interrupted between two readings sees too short a suspension, so the
        // longest of several is the most accurate.
        let suspended_at_start_ms = (0..3)
            .map(|_| read_suspended_ms())
            .max()
            .unwrap_or_default();
        Self {
            wall_at_start: read_wall_clock(),
            started_at: tokio_now(),
            suspended_at_start_ms,
            offset_ms: 0,
            wall_ahead_at_start_ms: (0..100).find_map(|_| read_wall_ahead_ms()),
            shift_ms: Box::leak(Box::default()),
        }
    }

    /// Returns this clock set forward by `millis`. To be called before the first use of the clock.
    #[must_use]
    pub fn with_offset_ms(self, millis: i64) -> Self {
        let wall_at_start =
            Time::from_millis(self.wall_at_start.as_millis().saturating_add(millis));
        Self {
            wall_at_start,
            offset_ms: self.offset_ms.saturating_add(millis),
            ..self
        }
    }

    /// Returns the current time for everything that leaves the program.
    pub fn now(&self) -> Time {
        self.time_point().time
    }

    /// Returns the current instant for deadlines and durations.
    pub fn instant(&self) -> Instant {
        tokio_now()
    }

    /// Returns the current moment on both clocks. An [`Instant`] cannot be converted to a [`Time`]
    /// later, because the machine may have been suspended in between.
    pub fn time_point(&self) -> TimePoint {
        // The suspension is read first: if the thread is interrupted between the two readings, the
        // sum still is the time of some moment between them.
        let suspended_ms = read_suspended_ms().saturating_sub(self.suspended_at_start_ms);
        let suspended = if suspended_ms < MIN_SUSPEND_MS {
            Duration::ZERO
        } else {
            Duration::from_millis(suspended_ms.unsigned_abs())
        };
        let instant = tokio_now();
        let time = self.wall_at_start.plus(
            instant
                .saturating_duration_since(self.started_at)
                .saturating_add(suspended),
        );
        TimePoint { instant, time }
    }

    /// Returns the time since `start`, suspensions excluded.
    pub fn elapsed_since(&self, start: TimePoint) -> Duration {
        tokio_now().saturating_duration_since(start.instant)
    }

    /// Returns the time since the clock was started, suspensions excluded.
    pub fn awake_uptime(&self) -> Duration {
        tokio_now().saturating_duration_since(self.started_at)
    }

    /// Returns the deadline that passes `limit` from now.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline {
            at: tokio_now() + limit,
            limit,
        }
    }

    /// Returns the shift of every time that is output.
    pub fn shift(&self) -> ClockShift {
        ClockShift::from_millis(self.shift_ms.load(Relaxed))
    }

    /// Compares this clock with the machine's wall clock. If that was set by a second or more, adds the
    /// step to [`Self::shift`] and returns it in milliseconds.
    ///
    /// A clock with the time of a shared store does not follow: its replicas would date a reading in
    /// different ways.
    pub fn follow_wall_clock(&self) -> Option<i64> {
        if self.offset_ms != 0 {
            return None;
        }
        // Both clocks count suspensions, and neither is the clock that tests pause.
        let ahead_ms = read_wall_ahead_ms()?.saturating_sub(self.wall_ahead_at_start_ms?);
        let step = ahead_ms.saturating_sub(self.shift_ms.load(Relaxed));
        if step.abs() < MIN_STEP_MS {
            return None;
        }
        self.shift_ms.fetch_add(step, Relaxed);
        Some(step)
    }

    /// Returns the current time of the machine's wall clock, which may step: for `Date` and for dates in
    /// requests to providers and in their answers.
    pub fn wall_time(&self) -> Time {
        read_wall_clock()
    }

    /// Returns the current time on every clock of the machine, for a later run of the program.
    pub fn timestamps(&self) -> ClockTimestamps {
        let wall = read_wall_clock().as_millis();
        ClockTimestamps {
            program_time: self.now(),
            wall_time: Time::from_millis(wall.saturating_add(self.offset_ms)),
            boot_uptime: read_boot_uptime(),
        }
    }
}

impl Deadline {
    /// Returns whether the deadline has passed.
    pub fn has_passed(&self) -> bool {
        tokio_now() >= self.at
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads a clock"
)]
fn tokio_now() -> Instant {
    Instant::now()
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads a clock"
)]
fn read_wall_clock() -> Time {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the milliseconds from the machine's uptime to its wall clock; `None` if the thread was
/// interrupted between the readings.
fn read_wall_ahead_ms() -> Option<i64> {
    let before = read_uptime()?;
    let wall = read_wall_clock();
    let took = read_uptime()?.saturating_sub(before);
    let uptime_ms = i64::try_from(before.as_millis()).ok()?;
    (took <= MAX_READ_TIME).then(|| wall.as_millis().saturating_sub(uptime_ms))
}

/// Returns the milliseconds that the machine has been suspended since its boot: the difference
/// between the clock that counts suspensions and the one that does not. Too small if the thread is
/// interrupted between the two readings.
fn read_suspended_ms() -> i64 {
    let since_boot = read_uptime();
    let awake = Duration::try_from(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
    .unwrap_or_default();
    let suspended = since_boot.unwrap_or(awake).saturating_sub(awake);
    i64::try_from(suspended.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the time since the machine was booted, suspensions included.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn read_uptime() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).ok()
}

/// Other systems have no clock that counts suspensions.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn read_uptime() -> Option<Duration> {
    None
}

fn read_boot_uptime() -> Option<BootUptime> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(BootUptime {
        boot_id: id.trim().to_owned(),
        uptime: read_uptime()?,
    })
}

/// Returns the processor time that the process has used.
pub fn process_cpu_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(
        rustix::time::ClockId::ProcessCPUTime,
    ))
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clock_pauses_and_counts_sleep() {
        let clock = Clock::start();
        let start = clock.time_point();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now().since(start.time), Duration::from_secs(3));
        let resumed = Clock {
            suspended_at_start_ms: clock.suspended_at_start_ms - 3_600_000,
            ..clock
        };
        assert_eq!(resumed.now().since(clock.now()), Duration::from_secs(3600));
        assert_eq!(resumed.elapsed_since(start), Duration::from_secs(3));
    }

    #[test]
    fn offset_clock_stays_consistent() {
        let clock = Clock::start();
        let set_back = clock.with_offset_ms(-3_600_000);
        assert!(clock.now().since(set_back.now()) >= Duration::from_secs(3599));
        let mut timestamps = set_back.timestamps();
        timestamps.boot_uptime = None;
        assert_eq!(
            timestamps.clock_shift_ms(&set_back.timestamps()),
            0,
            "another boot sees no step"
        );
    }

    #[test]
    fn timestamps_share_one_timeline() {
        let clock = Clock::start();
        let (first, second) = (clock.timestamps(), clock.timestamps());
        assert_eq!(first.clock_shift_ms(&second), 0);
        assert!(first.program_time <= second.program_time);
    }
}
