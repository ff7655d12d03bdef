//! The one clock: wall time read once at start, and what has passed since; pausable in tests.
//!
//! Deadlines are [`Instant`]s; everything that leaves the program is a [`Time`]. Nobody else reads a clock, so a step of
//! the machine's wall clock can neither age a reading nor move a schedule. Time that the machine sleeps through counts
//! for ages, though not for deadlines: a request that was under way deserves the rest of its time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::domain::{BootUptime, ClockTimestamps, Time};

/// Sleeps shorter than this are not told from the noise of reading two clocks one after the other.
const MIN_SLEEP_MS: i64 = 100;

/// A clock that never steps. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Time,
    started_at: Instant,
    /// Milliseconds that the machine had slept since it was booted.
    slept_at_start_ms: i64,
    /// By how many milliseconds it was set at its start.
    offset_ms: i64,
}

/// The beginning of something: on the clock that deadlines and durations use, and as it leaves the program.
#[derive(Debug, Clone, Copy)]
pub struct TimePoint {
    /// For durations.
    pub instant: Instant,
    /// For whatever leaves the program.
    pub time: Time,
}

/// The end of something, and the limit that it came from, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When it passes.
    pub at: Instant,
    /// The limit as it was configured or asked for.
    pub limit: Duration,
}

impl Clock {
    /// A clock that begins at the machine's wall time.
    pub fn start() -> Self {
        // Whoever is interrupted between two readings sees too little; of several, the most is the truest.
        let slept_at_start = (0..3).map(|_| read_slept_ms()).max().unwrap_or_default();
        Self {
            wall_at_start: read_wall_clock(),
            started_at: tokio_now(),
            slept_at_start_ms: slept_at_start,
            offset_ms: 0,
        }
    }

    /// The same clock set by `millis`: what a program does once, before anything has been dated.
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

    /// Now, as it leaves the program.
    pub fn now(&self) -> Time {
        self.time_point().time
    }

    /// Now, for deadlines.
    pub fn instant(&self) -> Instant {
        tokio_now()
    }

    /// Now, as the beginning of something. An instant is not made a [`Time`] later: sleep may have come between.
    pub fn time_point(&self) -> TimePoint {
        // In this order: whatever interrupts the two readings, the sum is the time at some moment between them.
        let sleep = read_slept_ms().saturating_sub(self.slept_at_start_ms);
        let sleep = if sleep < MIN_SLEEP_MS {
            Duration::ZERO
        } else {
            Duration::from_millis(sleep.unsigned_abs())
        };
        let instant = tokio_now();
        let time = self.wall_at_start.plus(
            instant
                .saturating_duration_since(self.started_at)
                .saturating_add(sleep),
        );
        TimePoint { instant, time }
    }

    /// How long ago the beginning was, sleep not counted.
    pub fn elapsed_since(&self, mark: TimePoint) -> Duration {
        tokio_now().saturating_duration_since(mark.instant)
    }

    /// How long it has been running, sleep not counted.
    pub fn awake_uptime(&self) -> Duration {
        tokio_now().saturating_duration_since(self.started_at)
    }

    /// A deadline that passes `limit` from now.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline {
            at: tokio_now() + limit,
            limit,
        }
    }

    /// Now by the machine's wall clock, for whom only that one counts.
    pub fn wall_time(&self) -> Time {
        read_wall_clock()
    }

    /// Now on every clock there is, for a later run.
    pub fn timestamps(&self) -> ClockTimestamps {
        let wall = Time::from_millis(read_wall_clock().as_millis().saturating_add(self.offset_ms));
        ClockTimestamps {
            program_time: self.now(),
            wall_time: wall,
            boot_uptime: read_since_boot(),
        }
    }
}

impl Deadline {
    /// Whether it has passed.
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

/// Milliseconds that the machine has slept since it was booted: by how much the clock that counts them is ahead of the
/// one that does not. Too little if interrupted between the two.
fn read_slept_ms() -> i64 {
    let boot = read_uptime();
    let awake = Duration::try_from(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
    .unwrap_or_default();
    i64::try_from(boot.unwrap_or(awake).saturating_sub(awake).as_millis()).unwrap_or(i64::MAX)
}

/// Since the machine was booted, sleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn read_uptime() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).ok()
}

/// Elsewhere no clock is known that counts sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn up() -> Option<Duration> {
    None
}

fn read_since_boot() -> Option<BootUptime> {
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
        let begun = clock.time_point();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now().since(begun.time), Duration::from_secs(3));
        let woken = Clock {
            slept_at_start_ms: clock.slept_at_start_ms - 3_600_000,
            ..clock
        };
        assert_eq!(woken.now().since(clock.now()), Duration::from_secs(3600));
        assert_eq!(woken.elapsed_since(begun), Duration::from_secs(3));
    }

    #[test]
    fn offset_clock_stays_consistent() {
        let clock = Clock::start();
        let set = clock.with_offset_ms(-3_600_000);
        assert!(clock.now().since(set.now()) >= Duration::from_secs(3599));
        let mut moment = set.timestamps();
        moment.boot_uptime = None;
        assert_eq!(
            moment.clock_shift_ms(&set.timestamps()),
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
