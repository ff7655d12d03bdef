//! The state of one connection and its deadlines.
//!
//! The connection's task records what happens with a few plain stores per request; the worker's
//! periodic sweep compares them with the deadlines. No connection has a timer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::coarse_clock::{CoarseClock, duration_between};
use super::connection_phase::{ConnectionPhase, ConnectionTimeouts};
use super::framing::FramingProblem;
use super::http2_streams::{Http2Streams, ResponseProgress};
use super::write_stall::{WRITE_STALL_TIMEOUT, WriteStall};

/// Maximum time for a head in the reserve. A shorter header timeout takes precedence.
const RESERVED_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the socket is read after the last response. A reset must not overtake that response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of one connection, written by its task and read by the sweep of the same thread.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    coarse_clock: Arc<CoarseClock>,
    /// A [`ConnectionPhase`].
    phase: AtomicU8,
    phase_since: AtomicU64,
    write_stall: WriteStall,
    /// The responses in progress if the connection speaks HTTP/2.
    http2_streams: OnceLock<Http2Streams>,
    /// Number of the head in the upper bits, [`FramingProblem`] in the lowest byte; 0 for no
    /// problem.
    framing_problem: AtomicU64,
    /// Whether the connection has a reserved place.
    is_reserved: AtomicBool,
    /// When the first read began; `u64::MAX` before.
    reading_since: AtomicU64,
    /// Whether the socket's send buffer is to be made small before the next write.
    wants_small_buffer: AtomicBool,
    /// Whether the request in progress has a body. The connection ends with its response.
    has_request_body: AtomicBool,
    /// Whether the client has sent a request after the response to another one.
    is_reused: AtomicBool,
}

impl ConnectionState {
    /// The state of a connection accepted at `accepted_at` on the coarse clock.
    pub(super) fn new(coarse_clock: Arc<CoarseClock>, accepted_at: u64, is_reserved: bool) -> Self {
        Self {
            coarse_clock,
            phase: AtomicU8::new(ConnectionPhase::AwaitingFirst as u8),
            phase_since: AtomicU64::new(accepted_at),
            write_stall: WriteStall::default(),
            http2_streams: OnceLock::new(),
            framing_problem: AtomicU64::new(0),
            is_reserved: AtomicBool::new(is_reserved),
            reading_since: AtomicU64::new(u64::MAX),
            wants_small_buffer: AtomicBool::new(false),
            has_request_body: AtomicBool::new(false),
            is_reused: AtomicBool::new(false),
        }
    }

    /// Records that a request's head is complete and its response has begun.
    pub(super) fn begin_response(&self) {
        // HTTP/2 begins a head while the connection counts as idle.
        if let ConnectionPhase::LaterHead | ConnectionPhase::Idle = self.phase() {
            self.is_reused.store(true, Relaxed);
        }
        // `phase_since` is not stored: no deadline applies in this phase.
        self.phase.store(ConnectionPhase::Responding as u8, Relaxed);
    }

    /// Whether the client has sent a request after the response to another one.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused.load(Relaxed)
    }

    /// Records that the request in progress has a body, which reads then wait for.
    pub(super) fn record_request_body(&self) {
        self.has_request_body.store(true, Relaxed);
    }

    /// The framing problem of head number `head` (from 0), if it has one.
    pub(super) fn framing_problem(&self, head: u32) -> Option<FramingProblem> {
        let packed = self.framing_problem.load(Relaxed);
        if packed == 0 || packed >> 8 != u64::from(head) {
            return None;
        }
        match packed as u8 {
            1 => Some(FramingProblem::BareLf),
            2 => Some(FramingProblem::AmbiguousLength),
            _ => Some(FramingProblem::TargetFragment),
        }
    }

    /// Whether the connection has no complete request: idle, or receiving a head.
    pub(super) fn is_awaiting_request(&self) -> bool {
        !matches!(
            self.phase(),
            ConnectionPhase::Responding | ConnectionPhase::Closing
        )
    }

    /// Whether a first request is whole.
    pub(super) fn has_begun_response(&self) -> bool {
        !matches!(
            self.phase(),
            ConnectionPhase::AwaitingFirst | ConnectionPhase::FirstHead
        )
    }

    /// Whether the connection waits for the next request and has received none of it.
    pub(super) fn is_idle(&self) -> bool {
        self.phase() == ConnectionPhase::Idle
    }

    /// Whether the client has shown that it reads: it has sent another request, or read much of this response.
    pub(super) fn is_known_reader(&self) -> bool {
        self.is_reused() || self.write_stall.has_read()
    }

    /// How long the connection has waited at `now` for its client to read, or to send the rest of a head; `None` if it
    /// does not wait. An eighth of a whole stall is added, for slow readers; by HTTP/2 a sixteenth of the idle time.
    pub(super) fn wait_for_client(&self, now: u64) -> Option<Duration> {
        if let Some((stalled, since_write)) = self.write_stall(now) {
            return Some(since_write + stalled / 8);
        }
        let (phase, age) = self.phase_and_age(now);
        match phase {
            ConnectionPhase::FirstHead | ConnectionPhase::LaterHead => Some(age),
            // The state of hyper is kept over the idle times of HTTP/2.
            ConnectionPhase::Idle if self.http2_streams.get().is_some() => Some(age / 16),
            _ => None,
        }
    }

    /// What the connection is doing, and since when at `now`. Of [`ConnectionPhase::Responding`] the
    /// time has no meaning.
    pub(super) fn phase_and_age(&self, now: u64) -> (ConnectionPhase, Duration) {
        (
            self.phase(),
            duration_between(self.phase_since.load(Relaxed), now),
        )
    }

    /// Whether the connection has a reserved place.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved.load(Relaxed)
    }

    /// Records that the first read begins.
    pub(super) fn begin_reading(&self) {
        self.reading_since.store(self.coarse_clock.now(), Relaxed);
    }

    /// The time at `now` since the first read began; `None` before it.
    pub(super) fn reading_for(&self, now: u64) -> Option<Duration> {
        let since = self.reading_since.load(Relaxed);
        (since != u64::MAX).then(|| duration_between(since, now))
    }

    pub(super) fn leave_reserve(&self) {
        self.is_reserved.store(false, Relaxed);
    }

    /// The time at `now` since the client's stall began, and since it last read; `None` without one.
    pub(super) fn write_stall(&self, now: u64) -> Option<(Duration, Duration)> {
        let stream_wait = || self.http2_streams.get()?.longest_wait(now);
        let socket_stall = self.write_stall.times(now);
        socket_stall.or_else(|| stream_wait().map(|wait| (wait, wait)))
    }

    /// Whether a deadline of the connection has passed at `now`.
    pub(super) fn is_overdue(&self, now: u64, timeouts: ConnectionTimeouts) -> bool {
        let streams = self.http2_streams.get();
        let stream_wait = streams.and_then(|streams| streams.longest_wait(now));
        if self.write_stall.is_overdue(now, timeouts.idle)
            || stream_wait.is_some_and(|wait| wait >= WRITE_STALL_TIMEOUT.min(timeouts.idle))
        {
            return true;
        }
        let head = if self.is_reserved() {
            timeouts.head.min(RESERVED_HEAD_TIMEOUT)
        } else {
            timeouts.head
        };
        let limit = match self.phase() {
            ConnectionPhase::AwaitingFirst
            | ConnectionPhase::FirstHead
            | ConnectionPhase::LaterHead => head,
            ConnectionPhase::Idle => timeouts.idle,
            ConnectionPhase::Closing => LINGER_TIMEOUT,
            ConnectionPhase::Responding => return false,
        };
        duration_between(self.phase_since.load(Relaxed), now) >= limit
    }

    fn phase(&self) -> ConnectionPhase {
        ConnectionPhase::from_byte(self.phase.load(Relaxed))
    }

    /// Enters a phase and restarts its time.
    pub(super) fn enter_phase(&self, phase: ConnectionPhase) {
        self.phase.store(phase as u8, Relaxed);
        self.phase_since.store(self.coarse_clock.now(), Relaxed);
    }

    /// Records that bytes of a request were received.
    pub(super) fn record_received(&self) {
        match self.phase() {
            // A frame of HTTP/2 need not begin a request.
            ConnectionPhase::Idle if self.http2_streams.get().is_some() => {}
            ConnectionPhase::Idle => self.enter_phase(ConnectionPhase::LaterHead),
            // `phase_since` is kept: the time of the first head runs from accept, or a client could
            // double it.
            ConnectionPhase::AwaitingFirst => {
                self.phase.store(ConnectionPhase::FirstHead as u8, Relaxed);
            }
            ConnectionPhase::FirstHead
            | ConnectionPhase::LaterHead
            | ConnectionPhase::Responding
            | ConnectionPhase::Closing => {}
        }
    }

    /// Records that what was received is whole and no part of a request: the first message of TLS.
    pub(super) fn end_first_message(&self) {
        // `phase_since` is kept, as in `record_received`.
        self.phase
            .store(ConnectionPhase::AwaitingFirst as u8, Relaxed);
    }

    /// Records that the first bytes of a head were received before the current reader took over.
    pub(super) fn begin_head(&self) {
        if self.phase() != ConnectionPhase::FirstHead {
            self.enter_phase(ConnectionPhase::LaterHead);
        }
    }

    /// Records that the response is complete. `has_partial_head`: bytes of the next request have arrived.
    pub(super) fn await_request(&self, has_partial_head: bool) {
        if self
            .http2_streams
            .get()
            .is_some_and(|streams| !streams.is_empty())
        {
            return;
        }
        if self.phase() == ConnectionPhase::Responding && !self.has_request_body.load(Relaxed) {
            self.enter_phase(if has_partial_head {
                ConnectionPhase::LaterHead
            } else {
                ConnectionPhase::Idle
            });
        }
    }

    /// Records that the connection speaks HTTP/2.
    pub(super) fn begin_http2(&self) {
        self.http2_streams.get_or_init(Http2Streams::default);
    }

    /// Begins a response of HTTP/2.
    pub(super) fn begin_stream(&self) -> Arc<ResponseProgress> {
        self.begin_response();
        self.http2_streams
            .get_or_init(Http2Streams::default)
            .begin()
    }

    /// Ends a response of HTTP/2.
    pub(super) fn end_stream(&self, response: &Arc<ResponseProgress>) {
        if self
            .http2_streams
            .get()
            .is_some_and(|streams| streams.end(response))
        {
            self.await_request(false);
        }
    }

    /// Sets the coarse clock to the present, and returns it.
    pub(super) fn advance_clock(&self) -> u64 {
        self.coarse_clock.advance();
        self.coarse_clock.now()
    }

    /// Records a framing problem of head number `head`. Only the first problem is kept: the
    /// connection ends with it.
    pub(super) fn record_problem(&self, head: u32, problem: FramingProblem) {
        if self.framing_problem.load(Relaxed) == 0 {
            self.framing_problem
                .store(u64::from(head) << 8 | problem as u64, Relaxed);
        }
    }

    /// Requests a small send buffer: unread events would be out of date when the client reads them.
    pub(crate) fn request_small_buffer(&self) {
        self.wants_small_buffer.store(true, Relaxed);
    }

    /// Whether a small send buffer was requested since the last call.
    pub(super) fn take_small_buffer_request(&self) -> bool {
        // The load avoids an atomic swap on every write.
        self.wants_small_buffer.load(Relaxed) && self.wants_small_buffer.swap(false, Relaxed)
    }

    /// Whether the client's receive window is full.
    pub(crate) fn is_write_stalled(&self) -> bool {
        self.write_stall.is_stalled()
    }

    /// Records that the kernel accepts no more bytes.
    pub(super) fn record_stall(&self) {
        self.write_stall.begin(&self.coarse_clock);
    }

    /// Records that the kernel accepted bytes.
    pub(super) fn record_written(&self, bytes: usize) {
        self.write_stall.record_written(&self.coarse_clock, bytes);
    }

    /// Records that the kernel has accepted every byte of the response.
    pub(super) fn record_flush(&self) {
        self.write_stall.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
    };

    fn new_state() -> ConnectionState {
        ConnectionState::new(Arc::default(), 0, false)
    }

    fn is_overdue_after(connection: &ConnectionState, seconds: u64) -> bool {
        connection.is_overdue(connection.coarse_clock.now() + seconds * 1000, TIMEOUTS)
    }

    #[test]
    fn first_head_is_timed_from_accept() {
        let connection = new_state();
        connection.coarse_clock.set(Duration::from_secs(9));
        connection.record_received();
        connection.end_first_message();
        assert!(!is_overdue_after(&connection, 0));
        assert!(is_overdue_after(&connection, 1));
    }

    #[test]
    fn idle_ends_with_first_byte() {
        let connection = new_state();
        let phase = || connection.phase_and_age(2000).0;
        assert_eq!(phase(), ConnectionPhase::AwaitingFirst);
        connection.record_received();
        assert_eq!(phase(), ConnectionPhase::FirstHead);
        connection.begin_response();
        assert_eq!(phase(), ConnectionPhase::Responding);
        connection.await_request(false);
        let idle = (ConnectionPhase::Idle, Duration::from_secs(2));
        assert_eq!(connection.phase_and_age(2000), idle);
        connection.record_received();
        assert_eq!(phase(), ConnectionPhase::LaterHead);
    }

    #[test]
    fn idle_begins_after_response() {
        let connection = new_state();
        connection.begin_response();
        assert!(!is_overdue_after(&connection, 3600));
        connection.coarse_clock.set(Duration::from_secs(60));
        connection.await_request(false);
        assert!(!is_overdue_after(&connection, 74));
        assert!(is_overdue_after(&connection, 75));
        connection.record_received();
        assert!(is_overdue_after(&connection, 10));
    }

    #[test]
    fn framing_problem_keeps_its_head() {
        let connection = new_state();
        connection.record_problem(3, FramingProblem::AmbiguousLength);
        connection.record_problem(4, FramingProblem::BareLf);
        assert_eq!(
            connection.framing_problem(3),
            Some(FramingProblem::AmbiguousLength)
        );
        assert_eq!(connection.framing_problem(0), None);
        assert_eq!(connection.framing_problem(4), None);
    }
}
