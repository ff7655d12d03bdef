//! One connection: what it is doing and since when, so that deadlines cost a few plain stores per request and no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::framing::FramingProblem;

/// How long a client may take nothing of what is written to it, unless idling is allowed for less.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a client must take per second, on average, once its writing stalls.
const MIN_WRITE_RATE: u64 = 1024;

/// How long we listen on after our last byte, so that the client reads it before a reset can overtake it.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The coarse time of one serving thread, in milliseconds since it began; moved on by its sweep.
#[derive(Debug, Default)]
pub(crate) struct CoarseClock(AtomicU64);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ConnectionPhase {
    /// Nothing has come since it was accepted.
    AwaitingFirst,
    /// Its first request has begun to come.
    FirstHead,
    /// A later request has begun to come.
    LaterHead,
    /// Its request is being answered.
    Responding,
    /// Between two requests.
    Idle,
    /// Our last byte is out.
    Closing,
}

/// How long a connection may be in each phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionTimeouts {
    /// For the head of a request; for the first one from accepting on.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
}

/// The state of one connection. Written by its own task, read by the sweep of the same thread.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    coarse_clock: Arc<CoarseClock>,
    phase: AtomicU8,
    phase_since: AtomicU64,
    is_write_stalled: AtomicBool,
    stalled_since: AtomicU64,
    /// Bytes taken since then, and when the last of them were.
    written_bytes: AtomicU64,
    last_write_at: AtomicU64,
    framing_problem: AtomicU64,
    /// Whether the kernel shall hold little of what is written.
    wants_small_buffer: AtomicBool,
}

impl CoarseClock {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, since_start: Duration) {
        self.0.store(since_start.as_millis() as u64, Relaxed);
    }
}

impl ConnectionPhase {
    fn from_byte(byte: u8) -> Self {
        [
            Self::AwaitingFirst,
            Self::FirstHead,
            Self::LaterHead,
            Self::Responding,
            Self::Idle,
        ]
        .into_iter()
        .find(|p| *p as u8 == byte)
        .unwrap_or(Self::Closing)
    }
}

impl ConnectionState {
    /// One that was accepted at `since`.
    pub(crate) fn new(ticks: Arc<CoarseClock>, since: u64) -> Self {
        Self {
            coarse_clock: ticks,
            phase: AtomicU8::new(ConnectionPhase::AwaitingFirst as u8),
            phase_since: AtomicU64::new(since),
            is_write_stalled: AtomicBool::new(false),
            stalled_since: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            last_write_at: AtomicU64::new(0),
            framing_problem: AtomicU64::new(0),
            wants_small_buffer: AtomicBool::new(false),
        }
    }

    /// A request's head is complete and is being answered.
    pub(crate) fn begin_response(&self) {
        self.phase.store(ConnectionPhase::Responding as u8, Relaxed);
    }

    /// What is wrong with the framing of the head of this number (from 0).
    pub(crate) fn framing_problem(&self, head: u32) -> Option<FramingProblem> {
        let noted = self.framing_problem.load(Relaxed);
        if noted == 0 || noted >> 8 != u64::from(head) {
            return None;
        }
        match noted as u8 {
            1 => Some(FramingProblem::BareLf),
            2 => Some(FramingProblem::AmbiguousLength),
            _ => Some(FramingProblem::TargetFragment),
        }
    }

    /// Whether no request is being answered.
    pub(crate) fn is_awaiting_request(&self) -> bool {
        matches!(
            self.phase(),
            ConnectionPhase::AwaitingFirst
                | ConnectionPhase::FirstHead
                | ConnectionPhase::Idle
                | ConnectionPhase::LaterHead
        )
    }

    /// How long it has been between two requests, or before the first, at `now`; none if it is not.
    pub(crate) fn idle_for(&self, now: u64) -> Option<Duration> {
        matches!(
            self.phase(),
            ConnectionPhase::AwaitingFirst | ConnectionPhase::Idle
        )
        .then(|| duration_between(self.phase_since.load(Relaxed), now))
    }

    /// Whether it has been doing what it does for too long at `now`.
    pub(crate) fn is_overdue(&self, now: u64, patience: ConnectionTimeouts) -> bool {
        if self.is_write_stalled.load(Relaxed) {
            let stall = WRITE_STALL_TIMEOUT.min(patience.idle);
            let earned =
                Duration::from_millis(self.written_bytes.load(Relaxed) * 1000 / MIN_WRITE_RATE);
            let crawls = duration_between(self.stalled_since.load(Relaxed), now) >= stall + earned;
            if crawls || duration_between(self.last_write_at.load(Relaxed), now) >= stall {
                return true;
            }
        }
        let limit = match self.phase() {
            ConnectionPhase::AwaitingFirst
            | ConnectionPhase::FirstHead
            | ConnectionPhase::LaterHead => patience.head,
            ConnectionPhase::Idle => patience.idle,
            ConnectionPhase::Closing => LINGER_TIMEOUT,
            ConnectionPhase::Responding => return false,
        };
        duration_between(self.phase_since.load(Relaxed), now) >= limit
    }

    fn phase(&self) -> ConnectionPhase {
        ConnectionPhase::from_byte(self.phase.load(Relaxed))
    }

    /// Begins a phase.
    pub(crate) fn enter_phase(&self, phase: ConnectionPhase) {
        self.phase.store(phase as u8, Relaxed);
        self.phase_since.store(self.coarse_clock.now(), Relaxed);
    }

    /// Bytes of a request have come.
    pub(crate) fn record_received(&self) {
        match self.phase() {
            ConnectionPhase::Idle => self.enter_phase(ConnectionPhase::LaterHead),
            // Its time still runs from accepting on.
            ConnectionPhase::AwaitingFirst => {
                self.phase.store(ConnectionPhase::FirstHead as u8, Relaxed)
            }
            ConnectionPhase::FirstHead
            | ConnectionPhase::LaterHead
            | ConnectionPhase::Responding
            | ConnectionPhase::Closing => {}
        }
    }

    /// Bytes of a request have come already, before whoever reads now.
    pub(crate) fn begin_head(&self) {
        if self.phase() != ConnectionPhase::FirstHead {
            self.enter_phase(ConnectionPhase::LaterHead);
        }
    }

    /// The next request is wanted and there are no bytes, or no more of it if it has `begun`.
    pub(crate) fn await_request(&self, begun: bool) {
        if self.phase() == ConnectionPhase::Responding {
            self.enter_phase(if begun {
                ConnectionPhase::LaterHead
            } else {
                ConnectionPhase::Idle
            });
        }
    }

    /// The head of this number has a fault; only the first one counts, since the connection ends with it.
    pub(crate) fn record_problem(&self, head: u32, fault: FramingProblem) {
        if self.framing_problem.load(Relaxed) == 0 {
            self.framing_problem
                .store(u64::from(head) << 8 | fault as u64, Relaxed);
        }
    }

    /// From now on the kernel shall hold little of what is written: what a slow client has not taken would be old when
    /// it does.
    pub(crate) fn request_small_buffer(&self) {
        self.wants_small_buffer.store(true, Relaxed);
    }

    /// Whether that is wished for and not done yet; told once.
    pub(crate) fn take_small_buffer_request(&self) -> bool {
        self.wants_small_buffer.load(Relaxed) && self.wants_small_buffer.swap(false, Relaxed)
    }

    /// Whether the client takes nothing at the moment.
    pub(crate) fn is_write_stalled(&self) -> bool {
        self.is_write_stalled.load(Relaxed)
    }

    /// The client's window is full.
    pub(crate) fn record_stall(&self) {
        if !self.is_write_stalled.load(Relaxed) {
            self.stalled_since.store(self.coarse_clock.now(), Relaxed);
            self.written_bytes.store(0, Relaxed);
            self.last_write_at.store(self.coarse_clock.now(), Relaxed);
            self.is_write_stalled.store(true, Relaxed);
        }
    }

    /// The kernel took bytes.
    pub(crate) fn record_written(&self, bytes: usize) {
        if self.is_write_stalled.load(Relaxed) {
            self.written_bytes
                .store(self.written_bytes.load(Relaxed) + bytes as u64, Relaxed);
            self.last_write_at.store(self.coarse_clock.now(), Relaxed);
        }
    }

    /// Everything that was to be written is with the kernel.
    pub(crate) fn record_flush(&self) {
        if self.is_write_stalled.load(Relaxed) {
            self.is_write_stalled.store(false, Relaxed);
        }
    }
}

/// Between two readings of [`Ticks`].
pub(crate) fn duration_between(since: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
    };

    fn new_state() -> ConnectionState {
        ConnectionState::new(Arc::default(), 0)
    }

    fn is_overdue_after(conn: &ConnectionState, seconds: u64) -> bool {
        conn.is_overdue(conn.coarse_clock.now() + seconds * 1000, TIMEOUTS)
    }

    #[test]
    fn first_head_is_timed_from_accept() {
        let conn = new_state();
        conn.coarse_clock.set(Duration::from_secs(9));
        conn.record_received();
        assert!(!is_overdue_after(&conn, 0));
        assert!(is_overdue_after(&conn, 1));
    }

    #[test]
    fn idle_ends_with_first_byte() {
        let conn = new_state();
        assert_eq!(conn.idle_for(2000), Some(Duration::from_secs(2)));
        conn.record_received();
        assert_eq!(conn.idle_for(2000), None);
        conn.begin_response();
        assert_eq!(conn.idle_for(2000), None);
        conn.await_request(false);
        assert_eq!(conn.idle_for(2000), Some(Duration::from_secs(2)));
        conn.record_received();
        assert_eq!(conn.idle_for(2000), None);
    }

    #[test]
    fn idle_begins_after_response() {
        let conn = new_state();
        conn.begin_response();
        assert!(!is_overdue_after(&conn, 3600));
        conn.coarse_clock.set(Duration::from_secs(60));
        conn.await_request(false);
        assert!(!is_overdue_after(&conn, 74));
        assert!(is_overdue_after(&conn, 75));
        conn.record_received();
        assert!(is_overdue_after(&conn, 10));
    }

    #[test]
    fn progress_extends_write_deadline() {
        let conn = new_state();
        conn.begin_response();
        conn.record_stall();
        assert!(!is_overdue_after(&conn, 9));
        assert!(is_overdue_after(&conn, 10));
        conn.coarse_clock.set(Duration::from_secs(9));
        conn.record_written(10 * 1024);
        assert!(!is_overdue_after(&conn, 9));
        assert!(is_overdue_after(&conn, 10));
        conn.record_flush();
        assert!(!is_overdue_after(&conn, 3600));
    }

    #[test]
    fn slow_reader_is_dropped() {
        let conn = new_state();
        conn.begin_response();
        conn.record_stall();
        for second in 1..=10 {
            assert!(!is_overdue_after(&conn, 0), "after {second} s");
            conn.coarse_clock.set(Duration::from_secs(second));
            conn.record_written(1);
        }
        assert!(is_overdue_after(&conn, 1));
    }

    #[test]
    fn framing_problem_keeps_its_head() {
        let conn = new_state();
        conn.record_problem(3, FramingProblem::AmbiguousLength);
        conn.record_problem(4, FramingProblem::BareLf);
        assert_eq!(
            conn.framing_problem(3),
            Some(FramingProblem::AmbiguousLength)
        );
        assert_eq!(conn.framing_problem(0), None);
        assert_eq!(conn.framing_problem(4), None);
    }
}
