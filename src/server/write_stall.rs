//! A client that does not read as fast as the server writes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::coarse_clock::{CoarseClock, duration_between};

/// Maximum time without progress while the client's receive window is full. A shorter idle timeout
/// takes precedence.
pub(super) const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum average rate, in bytes per second, at which a client must read after its first stall.
const MIN_WRITE_RATE: u64 = 1024;

/// A client that has read this many bytes since its stall began, in which the kernel's buffers were full,
/// does read.
const PROOF_BYTES: u64 = 32 << 10;

/// The stall of one client: begins when the kernel accepts no more bytes, and ends when it has accepted
/// every byte of the response.
#[derive(Debug, Default)]
pub(super) struct WriteStall {
    is_stalled: AtomicBool,
    since: AtomicU64,
    /// Bytes written since the stall began, and when the latest of them were.
    written_bytes: AtomicU64,
    last_write_at: AtomicU64,
}

impl WriteStall {
    /// Whether the client's receive window is full.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Relaxed)
    }

    /// Whether the client has read much since the latest stall began.
    pub(super) fn has_read(&self) -> bool {
        self.written_bytes.load(Relaxed) >= PROOF_BYTES
    }

    /// The time at `now` since the stall began, and since the client last read; `None` if it does not
    /// stall.
    pub(super) fn times(&self, now: u64) -> Option<(Duration, Duration)> {
        let since = |at: &AtomicU64| duration_between(at.load(Relaxed), now);
        self.is_stalled()
            .then(|| (since(&self.since), since(&self.last_write_at)))
    }

    /// Whether the client has read too little at `now`.
    pub(super) fn is_overdue(&self, now: u64, idle_timeout: Duration) -> bool {
        let Some((stalled, since_write)) = self.times(now) else {
            return false;
        };
        let timeout = WRITE_STALL_TIMEOUT.min(idle_timeout);
        // Every byte that the client reads extends the deadline, so a slow but steady client is kept.
        let extension =
            Duration::from_millis(self.written_bytes.load(Relaxed) * 1000 / MIN_WRITE_RATE);
        stalled >= timeout + extension || since_write >= timeout
    }

    /// Records that the kernel accepts no more bytes.
    pub(super) fn begin(&self, clock: &CoarseClock) {
        if !self.is_stalled() {
            clock.advance();
            self.since.store(clock.now(), Relaxed);
            self.written_bytes.store(0, Relaxed);
            self.last_write_at.store(clock.now(), Relaxed);
            self.is_stalled.store(true, Relaxed);
        }
    }

    /// Records that the kernel accepted bytes.
    pub(super) fn record_written(&self, clock: &CoarseClock, bytes: usize) {
        if self.is_stalled() {
            clock.advance();
            let written = self.written_bytes.load(Relaxed) + bytes as u64;
            self.written_bytes.store(written, Relaxed);
            self.last_write_at.store(clock.now(), Relaxed);
        }
    }

    /// Records that the kernel has accepted every byte of the response.
    pub(super) fn end(&self) {
        if self.is_stalled() {
            self.is_stalled.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stall that began at 0.
    fn stall() -> (WriteStall, CoarseClock) {
        let (stall, clock) = (WriteStall::default(), CoarseClock::default());
        stall.begin(&clock);
        (stall, clock)
    }

    fn is_overdue_after(stall: &WriteStall, clock: &CoarseClock, seconds: u64) -> bool {
        stall.is_overdue(clock.now() + seconds * 1000, Duration::from_secs(75))
    }

    #[test]
    fn progress_extends_write_deadline() {
        let (stall, clock) = stall();
        assert!(!is_overdue_after(&stall, &clock, 9));
        assert!(is_overdue_after(&stall, &clock, 10));
        clock.set(Duration::from_secs(9));
        stall.record_written(&clock, 10 * 1024);
        assert!(!is_overdue_after(&stall, &clock, 9));
        assert!(is_overdue_after(&stall, &clock, 10));
        stall.end();
        assert!(!is_overdue_after(&stall, &clock, 3600));
    }

    #[test]
    fn slow_reader_is_dropped() {
        let (stall, clock) = stall();
        for second in 1..=10 {
            assert!(!is_overdue_after(&stall, &clock, 0), "after {second} s");
            clock.set(Duration::from_secs(second));
            stall.record_written(&clock, 1);
        }
        assert!(is_overdue_after(&stall, &clock, 1));
    }
}
