//! The one clock: wall time read once at start, and what has passed since; pausable in tests.
//!
//! Deadlines are [`Instant`]s; everything that leaves the program is a [`Time`]. Nobody else reads a clock, so a step of
//! the machine's wall clock can neither age a reading nor move a schedule. Time that the machine sleeps through counts
//! for ages, though not for deadlines: a request that was under way deserves the rest of its time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::domain::{Moment, SinceBoot, Time};

/// Sleeps shorter than this are not told from the noise of reading two clocks one after the other.
const NAP_MS: i64 = 100;

/// A clock that never steps. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Time,
    started: Instant,
    /// Milliseconds that the machine had slept since it was booted.
    slept_at_start: i64,
    /// By how many milliseconds it was set at its start.
    set_by: i64,
}

/// The beginning of something: on the clock that deadlines and durations use, and as it leaves the program.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
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
        let slept_at_start = (0..3).map(|_| slept()).max().unwrap_or_default();
        Self {
            wall_at_start: wall(),
            started: tokio_now(),
            slept_at_start,
            set_by: 0,
        }
    }

    /// The same clock set by `millis`: what a program does once, before anything has been dated.
    #[must_use]
    pub fn set_by(self, millis: i64) -> Self {
        let wall_at_start =
            Time::from_millis(self.wall_at_start.as_millis().saturating_add(millis));
        Self {
            wall_at_start,
            set_by: self.set_by.saturating_add(millis),
            ..self
        }
    }

    /// Now, as it leaves the program.
    pub fn now(&self) -> Time {
        self.mark().time
    }

    /// Now, for deadlines.
    pub fn instant(&self) -> Instant {
        tokio_now()
    }

    /// Now, as the beginning of something. An instant is not made a [`Time`] later: sleep may have come between.
    pub fn mark(&self) -> Mark {
        // In this order: whatever interrupts the two readings, the sum is the time at some moment between them.
        let sleep = slept().saturating_sub(self.slept_at_start);
        let sleep = if sleep < NAP_MS {
            Duration::ZERO
        } else {
            Duration::from_millis(sleep.unsigned_abs())
        };
        let instant = tokio_now();
        let time = self.wall_at_start.after(
            instant
                .saturating_duration_since(self.started)
                .saturating_add(sleep),
        );
        Mark { instant, time }
    }

    /// How long ago the beginning was, sleep not counted.
    pub fn since(&self, mark: Mark) -> Duration {
        tokio_now().saturating_duration_since(mark.instant)
    }

    /// How long it has been running, sleep not counted.
    pub fn awake(&self) -> Duration {
        tokio_now().saturating_duration_since(self.started)
    }

    /// A deadline that passes `limit` from now.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline {
            at: tokio_now() + limit,
            limit,
        }
    }

    /// Now by the machine's wall clock, for whom only that one counts.
    pub fn wall(&self) -> Time {
        wall()
    }

    /// Now on every clock there is, for a later run.
    pub fn moment(&self) -> Moment {
        let wall = Time::from_millis(wall().as_millis().saturating_add(self.set_by));
        Moment {
            at: self.now(),
            wall,
            boot: since_boot(),
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
fn wall() -> Time {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds that the machine has slept since it was booted: by how much the clock that counts them is ahead of the
/// one that does not. Too little if interrupted between the two.
fn slept() -> i64 {
    let boot = up();
    let awake = Duration::try_from(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
    .unwrap_or_default();
    i64::try_from(boot.unwrap_or(awake).saturating_sub(awake).as_millis()).unwrap_or(i64::MAX)
}

/// Since the machine was booted, sleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn up() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).ok()
}

/// Elsewhere no clock is known that counts sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn up() -> Option<Duration> {
    None
}

fn since_boot() -> Option<SinceBoot> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(SinceBoot {
        id: id.trim().to_owned(),
        up: up()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn paused_time_pauses_it_and_sleep_of_the_machine_counts() {
        let clock = Clock::start();
        let begun = clock.mark();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now().since(begun.time), Duration::from_secs(3));
        let woken = Clock {
            slept_at_start: clock.slept_at_start - 3_600_000,
            ..clock
        };
        assert_eq!(woken.now().since(clock.now()), Duration::from_secs(3600));
        assert_eq!(woken.since(begun), Duration::from_secs(3));
    }

    #[test]
    fn a_clock_that_was_set_keeps_its_moments_consistent() {
        let clock = Clock::start();
        let set = clock.set_by(-3_600_000);
        assert!(clock.now().since(set.now()) >= Duration::from_secs(3599));
        let mut moment = set.moment();
        moment.boot = None;
        assert_eq!(
            moment.shift_to(&set.moment()),
            0,
            "another boot sees no step"
        );
    }

    #[test]
    fn a_moment_is_on_one_line_with_its_clocks() {
        let clock = Clock::start();
        let (first, second) = (clock.moment(), clock.moment());
        assert_eq!(first.shift_to(&second), 0);
        assert!(first.at <= second.at);
    }
}
