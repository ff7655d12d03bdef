//! One connection: what it is doing and since when, so that deadlines cost a few plain stores per request and no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::lines::Fault;

/// How long a client may take nothing of what is written to it, unless idling is allowed for less.
const WRITE_STALL: Duration = Duration::from_secs(10);

/// Bytes that a client must take per second, on average, once its writing stalls.
const SLOWEST: u64 = 1024;

/// How long we listen on after our last byte, so that the client reads it before a reset can overtake it.
const LINGER: Duration = Duration::from_secs(1);

/// The coarse time of one serving thread, in milliseconds since it began; moved on by its sweep.
#[derive(Debug, Default)]
pub(super) struct Ticks(AtomicU64);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing has come since it was accepted.
    Silent,
    /// Its first request has begun to come.
    Fresh,
    /// A later request has begun to come.
    Head,
    /// Its request is being answered.
    Answer,
    /// Between two requests.
    Idle,
    /// Our last byte is out.
    Closing,
}

/// How long a connection may be in each phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the head of a request; for the first one from accepting on.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

/// The state of one connection. Written by its own task, read by the sweep of the same thread.
#[derive(Debug)]
pub(super) struct Conn {
    ticks: Arc<Ticks>,
    phase: AtomicU8,
    since: AtomicU64,
    stalled: AtomicBool,
    stalled_since: AtomicU64,
    /// Bytes taken since then, and when the last of them were.
    taken: AtomicU64,
    taken_at: AtomicU64,
    fault: AtomicU64,
    /// Whether the kernel shall hold little of what is written.
    little: AtomicBool,
}

impl Ticks {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, since_start: Duration) {
        self.0.store(since_start.as_millis() as u64, Relaxed);
    }
}

impl Phase {
    fn of(byte: u8) -> Self {
        [
            Self::Silent,
            Self::Fresh,
            Self::Head,
            Self::Answer,
            Self::Idle,
        ]
        .into_iter()
        .find(|p| *p as u8 == byte)
        .unwrap_or(Self::Closing)
    }
}

impl Conn {
    /// One that was accepted at `since`.
    pub(super) fn new(ticks: Arc<Ticks>, since: u64) -> Self {
        Self {
            ticks,
            phase: AtomicU8::new(Phase::Silent as u8),
            since: AtomicU64::new(since),
            stalled: AtomicBool::new(false),
            stalled_since: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            taken_at: AtomicU64::new(0),
            fault: AtomicU64::new(0),
            little: AtomicBool::new(false),
        }
    }

    /// A request's head is complete and is being answered.
    pub(super) fn answering(&self) {
        self.phase.store(Phase::Answer as u8, Relaxed);
    }

    /// What is wrong with the framing of the head of this number (from 0).
    pub(super) fn fault(&self, head: u32) -> Option<Fault> {
        let noted = self.fault.load(Relaxed);
        if noted == 0 || noted >> 8 != u64::from(head) {
            return None;
        }
        match noted as u8 {
            1 => Some(Fault::BareLf),
            2 => Some(Fault::Length),
            _ => Some(Fault::Fragment),
        }
    }

    /// Whether no request is being answered.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(
            self.phase(),
            Phase::Silent | Phase::Fresh | Phase::Idle | Phase::Head
        )
    }

    /// How long it has been between two requests, or before the first, at `now`; none if it is not.
    pub(super) fn idle_for(&self, now: u64) -> Option<Duration> {
        matches!(self.phase(), Phase::Silent | Phase::Idle)
            .then(|| passed(self.since.load(Relaxed), now))
    }

    /// Whether it has been doing what it does for too long at `now`.
    pub(super) fn is_overdue(&self, now: u64, patience: Patience) -> bool {
        if self.stalled.load(Relaxed) {
            let stall = WRITE_STALL.min(patience.idle);
            let earned = Duration::from_millis(self.taken.load(Relaxed) * 1000 / SLOWEST);
            let crawls = passed(self.stalled_since.load(Relaxed), now) >= stall + earned;
            if crawls || passed(self.taken_at.load(Relaxed), now) >= stall {
                return true;
            }
        }
        let limit = match self.phase() {
            Phase::Silent | Phase::Fresh | Phase::Head => patience.head,
            Phase::Idle => patience.idle,
            Phase::Closing => LINGER,
            Phase::Answer => return false,
        };
        passed(self.since.load(Relaxed), now) >= limit
    }

    fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Relaxed))
    }

    /// Begins a phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.ticks.now(), Relaxed);
    }

    /// Bytes of a request have come.
    pub(super) fn received(&self) {
        match self.phase() {
            Phase::Idle => self.enter(Phase::Head),
            // Its time still runs from accepting on.
            Phase::Silent => self.phase.store(Phase::Fresh as u8, Relaxed),
            Phase::Fresh | Phase::Head | Phase::Answer | Phase::Closing => {}
        }
    }

    /// Bytes of a request have come already, before whoever reads now.
    pub(super) fn begun(&self) {
        if self.phase() != Phase::Fresh {
            self.enter(Phase::Head);
        }
    }

    /// The next request is wanted and there are no bytes, or no more of it if it has `begun`.
    pub(super) fn hungry(&self, begun: bool) {
        if self.phase() == Phase::Answer {
            self.enter(if begun { Phase::Head } else { Phase::Idle });
        }
    }

    /// The head of this number has a fault; only the first one counts, since the connection ends with it.
    pub(super) fn note(&self, head: u32, fault: Fault) {
        if self.fault.load(Relaxed) == 0 {
            self.fault
                .store(u64::from(head) << 8 | fault as u64, Relaxed);
        }
    }

    /// From now on the kernel shall hold little of what is written: what a slow client has not taken would be old when
    /// it does.
    pub(super) fn keeps_little(&self) {
        self.little.store(true, Relaxed);
    }

    /// Whether that is wished for and not done yet; told once.
    pub(super) fn is_to_keep_little(&self) -> bool {
        self.little.load(Relaxed) && self.little.swap(false, Relaxed)
    }

    /// Whether the client takes nothing at the moment.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    /// The client's window is full.
    pub(super) fn write_stalls(&self) {
        if !self.stalled.load(Relaxed) {
            self.stalled_since.store(self.ticks.now(), Relaxed);
            self.taken.store(0, Relaxed);
            self.taken_at.store(self.ticks.now(), Relaxed);
            self.stalled.store(true, Relaxed);
        }
    }

    /// The kernel took bytes.
    pub(super) fn took(&self, bytes: usize) {
        if self.stalled.load(Relaxed) {
            self.taken
                .store(self.taken.load(Relaxed) + bytes as u64, Relaxed);
            self.taken_at.store(self.ticks.now(), Relaxed);
        }
    }

    /// Everything that was to be written is with the kernel.
    pub(super) fn flushed(&self) {
        if self.stalled.load(Relaxed) {
            self.stalled.store(false, Relaxed);
        }
    }
}

/// Between two readings of [`Ticks`].
pub(super) fn passed(since: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
    };

    fn conn() -> Conn {
        Conn::new(Arc::default(), 0)
    }

    fn after(conn: &Conn, seconds: u64) -> bool {
        conn.is_overdue(conn.ticks.now() + seconds * 1000, PATIENCE)
    }

    #[test]
    fn a_first_head_is_due_from_accepting_on() {
        let conn = conn();
        conn.ticks.set(Duration::from_secs(9));
        conn.received();
        assert!(!after(&conn, 0));
        assert!(after(&conn, 1));
    }

    #[test]
    fn who_has_said_nothing_is_idle_and_who_has_begun_to_speak_is_not() {
        let conn = conn();
        assert_eq!(conn.idle_for(2000), Some(Duration::from_secs(2)));
        conn.received();
        assert_eq!(conn.idle_for(2000), None);
        conn.answering();
        assert_eq!(conn.idle_for(2000), None);
        conn.hungry(false);
        assert_eq!(conn.idle_for(2000), Some(Duration::from_secs(2)));
        conn.received();
        assert_eq!(conn.idle_for(2000), None);
    }

    #[test]
    fn an_answer_may_take_its_time_and_idling_begins_after_it() {
        let conn = conn();
        conn.answering();
        assert!(!after(&conn, 3600));
        conn.ticks.set(Duration::from_secs(60));
        conn.hungry(false);
        assert!(!after(&conn, 74));
        assert!(after(&conn, 75));
        conn.received();
        assert!(after(&conn, 10));
    }

    #[test]
    fn who_takes_nothing_is_dropped_and_who_takes_something_gets_longer() {
        let conn = conn();
        conn.answering();
        conn.write_stalls();
        assert!(!after(&conn, 9));
        assert!(after(&conn, 10));
        conn.ticks.set(Duration::from_secs(9));
        conn.took(10 * 1024);
        assert!(!after(&conn, 9));
        assert!(after(&conn, 10));
        conn.flushed();
        assert!(!after(&conn, 3600));
    }

    #[test]
    fn who_takes_a_byte_now_and_then_is_dropped_too() {
        let conn = conn();
        conn.answering();
        conn.write_stalls();
        for second in 1..=10 {
            assert!(!after(&conn, 0), "after {second} s");
            conn.ticks.set(Duration::from_secs(second));
            conn.took(1);
        }
        assert!(after(&conn, 1));
    }

    #[test]
    fn a_fault_belongs_to_its_head() {
        let conn = conn();
        conn.note(3, Fault::Length);
        conn.note(4, Fault::BareLf);
        assert_eq!(conn.fault(3), Some(Fault::Length));
        assert_eq!(conn.fault(0), None);
        assert_eq!(conn.fault(4), None);
    }
}
