//! The clock by which a worker times its connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::process::Clock;

/// Coarse clock of one worker: milliseconds since the worker started. The worker advances it in each
/// sweep, and a connection whose client does not read; otherwise connections only read it.
#[derive(Debug, Default)]
pub(super) struct CoarseClock {
    millis: AtomicU64,
    /// The clock that it follows, and its zero. `None` in tests, which set it.
    source: Option<(Clock, Instant)>,
}

impl CoarseClock {
    /// Returns a clock that begins now.
    pub(super) fn start(clock: Clock) -> Self {
        Self {
            millis: AtomicU64::new(0),
            source: Some((clock, clock.instant())),
        }
    }

    /// Milliseconds since the worker started, as of the latest [`CoarseClock::advance`].
    pub(super) fn now(&self) -> u64 {
        self.millis.load(Relaxed)
    }

    /// Sets the clock to the present.
    pub(super) fn advance(&self) {
        if let Some((clock, started_at)) = self.source {
            self.set(clock.instant().saturating_duration_since(started_at));
        }
    }

    pub(super) fn set(&self, since_start: Duration) {
        self.millis.store(since_start.as_millis() as u64, Relaxed);
    }
}

/// The time between two readings of a [`CoarseClock`].
pub(super) fn duration_between(since: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(since))
}
