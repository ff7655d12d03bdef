//! Which connections are closed when a listener has no free place: those whose clients stall.
//!
//! A connection that is being answered, and reads, is never closed.

use std::time::Duration;

use super::connection_phase::ConnectionPhase;
use super::connection_state::ConnectionState;

/// A connection that has stalled for less than this is not evicted: a client far away needs some
/// time for its next bytes.
const MIN_STALL: Duration = Duration::from_secs(1);

/// The same for a connection that waits for its second request. Most clients never send one; those that poll
/// often do soon.
const MIN_ONE_REQUEST_IDLE: Duration = Duration::from_millis(100);

/// The same for a client that reads slowly.
const MIN_SLOW_READ: Duration = Duration::from_secs(2);

/// The same for a connection in the reserve. Health checks send their request at once.
const MIN_RESERVED_STALL: Duration = Duration::from_millis(25);

/// The same once a part of its request, or of its first message of TLS, has arrived. Health checks send theirs in
/// one piece.
const MIN_RESERVED_HEAD_STALL: Duration = Duration::from_millis(5);

/// Why a connection may be evicted. The first ones are evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EvictionRank {
    /// It has never sent a whole request.
    NoRequest,
    /// Its client reads nothing.
    NoRead,
    /// It waits for its second request, which most clients never send.
    OneRequest,
    /// Its next request is not whole.
    UnfinishedRequest,
    /// It waits for its next request.
    Idle,
    /// Its client reads slowly.
    SlowRead,
}

/// The rank of a connection at `now` on the coarse clock, and for how long its client has stalled.
/// `None` if it must stay. `precision` is that of the clock.
pub(super) fn rank_for_eviction(
    connection: &ConnectionState,
    now: u64,
    precision: Duration,
) -> Option<(EvictionRank, Duration)> {
    if connection.is_reserved() {
        return None;
    }
    if let Some((since_stall, since_write)) = connection.write_stall(now) {
        if since_write >= MIN_STALL + precision {
            return Some((EvictionRank::NoRead, since_write));
        }
        let is_slow = since_stall >= MIN_SLOW_READ + precision;
        return is_slow.then_some((EvictionRank::SlowRead, since_stall));
    }
    let (phase, age) = connection.phase_and_age(now);
    let rank = match phase {
        ConnectionPhase::AwaitingFirst | ConnectionPhase::FirstHead => EvictionRank::NoRequest,
        ConnectionPhase::LaterHead => EvictionRank::UnfinishedRequest,
        ConnectionPhase::Idle if !connection.is_reused() => {
            return (age >= MIN_ONE_REQUEST_IDLE).then_some((EvictionRank::OneRequest, age));
        }
        ConnectionPhase::Idle => EvictionRank::Idle,
        ConnectionPhase::Responding | ConnectionPhase::Closing => return None,
    };
    (age >= MIN_STALL + precision).then_some((rank, age))
}

/// Whether a connection in the reserve still waits for its request, and for how long its client has
/// stalled. `None` if it does not stall, or is not in the reserve.
pub(super) fn stall_in_reserve(connection: &ConnectionState, now: u64) -> Option<(bool, Duration)> {
    let (phase, age) = connection.phase_and_age(now);
    // A connection that the worker has just begun to read may have sent its request long ago.
    let age = connection.reading_for(now)?.min(age);
    let may_close = connection.is_reserved() && phase != ConnectionPhase::Responding;
    let min_stall = match phase {
        ConnectionPhase::FirstHead => MIN_RESERVED_HEAD_STALL,
        _ => MIN_RESERVED_STALL,
    };
    (may_close && age >= min_stall).then_some((phase != ConnectionPhase::Closing, age))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn rank_after(connection: &ConnectionState, seconds: u64) -> Option<EvictionRank> {
        let ranked = rank_for_eviction(connection, seconds * 1000, Duration::ZERO);
        ranked.map(|(rank, _)| rank)
    }

    #[test]
    fn stalled_connection_is_ranked() {
        let connection = ConnectionState::new(Arc::default(), 0, false);
        assert_eq!(rank_after(&connection, 0), None);
        assert_eq!(rank_after(&connection, 1), Some(EvictionRank::NoRequest));
        connection.record_received();
        assert_eq!(rank_after(&connection, 1), Some(EvictionRank::NoRequest));
        connection.begin_response();
        assert_eq!(rank_after(&connection, 60), None, "it is being answered");
        connection.await_request(false);
        assert_eq!(rank_after(&connection, 0), None);
        assert_eq!(rank_after(&connection, 1), Some(EvictionRank::OneRequest));
        connection.record_received();
        connection.begin_response();
        connection.await_request(false);
        assert_eq!(rank_after(&connection, 0), None);
        assert_eq!(rank_after(&connection, 1), Some(EvictionRank::Idle));
        connection.record_received();
        let unfinished = Some(EvictionRank::UnfinishedRequest);
        assert_eq!(rank_after(&connection, 1), unfinished);
    }

    #[test]
    fn reader_without_progress_goes_first() {
        let connection = ConnectionState::new(Arc::default(), 0, false);
        connection.begin_response();
        connection.record_stall();
        assert_eq!(rank_after(&connection, 0), None);
        assert_eq!(rank_after(&connection, 1), Some(EvictionRank::NoRead));
        assert!(EvictionRank::NoRead < EvictionRank::Idle);
    }

    #[test]
    fn reserved_connection_is_evicted_early() {
        let connection = ConnectionState::new(Arc::default(), 0, true);
        assert_eq!(rank_after(&connection, 60), None, "it has no regular place");
        assert!(
            stall_in_reserve(&connection, 100).is_none(),
            "it is not read"
        );
        connection.begin_reading();
        assert!(stall_in_reserve(&connection, 24).is_none());
        assert!(stall_in_reserve(&connection, 25).is_some());
        connection.record_received();
        assert!(stall_in_reserve(&connection, 4).is_none());
        assert!(stall_in_reserve(&connection, 5).is_some());
        connection.begin_response();
        assert!(stall_in_reserve(&connection, 1000).is_none());
        connection.leave_reserve();
        connection.enter_phase(ConnectionPhase::Closing);
        assert!(stall_in_reserve(&connection, 1000).is_none());
    }
}
