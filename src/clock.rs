//! The one clock: wall time read once at start, monotonic time since; pausable in tests.
//!
//! Deadlines are [`Instant`]s; everything that leaves the program is a [`Time`]. Nobody else reads a clock, so a step of
//! the machine's wall clock can neither age a reading nor move a schedule.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::domain::Time;

/// A clock that never steps. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Time,
    started: Instant,
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
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Self { wall_at_start: Time::from_millis(wall), started: Instant::now() }
    }

    /// Now, as it leaves the program.
    pub fn now(&self) -> Time {
        self.at(self.instant())
    }

    /// Now, for deadlines.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// The wall time of an instant.
    pub fn at(&self, instant: Instant) -> Time {
        self.wall_at_start.after(instant.saturating_duration_since(self.started))
    }

    /// A deadline that passes `limit` from now.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline { at: self.instant() + limit, limit }
    }
}
