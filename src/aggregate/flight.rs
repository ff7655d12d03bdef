//! A flight as its waiters see it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::Time;
use crate::fetch::CallPriority;

use super::coordinator::LeaseHandle;

/// One attempt at one source. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Flight(Arc<FlightInner>);

#[derive(Debug)]
struct FlightInner {
    /// Milliseconds since the epoch.
    started_at_ms: AtomicI64,
    /// Whether a live request waits for the flight.
    priority: CallPriority,
    /// Whether an attempt of another replica replaced the flight.
    is_remote: AtomicBool,
    completed: CancellationToken,
    completed_at: OnceLock<Instant>,
    abort: CancellationToken,
    /// `None` without other replicas.
    reported: Option<CancellationToken>,
    /// Kept here rather than in the task of the race, so that the lease is released even if the race
    /// panics.
    lease: Mutex<Option<LeaseHandle>>,
}

impl Flight {
    /// Returns a flight that begins at `now` and ends without an outcome when `abort` is cancelled.
    /// `has_replicas`: it is to be reported to other replicas.
    pub(super) fn new(now: Time, abort: CancellationToken, has_replicas: bool) -> Self {
        Self(Arc::new(FlightInner {
            started_at_ms: AtomicI64::new(now.as_millis()),
            priority: CallPriority::default(),
            is_remote: AtomicBool::new(false),
            completed: CancellationToken::new(),
            completed_at: OnceLock::new(),
            abort,
            reported: has_replicas.then(CancellationToken::new),
            lease: Mutex::default(),
        }))
    }

    /// Returns when the attempt began: its reading is not older.
    pub fn started_at(&self) -> Time {
        Time::from_millis(self.0.started_at_ms.load(Relaxed))
    }

    /// Waits until the outcome is published, or the flight ended without one.
    pub async fn wait_for_completion(&self) {
        self.0.completed.cancelled().await;
    }

    /// Returns when the flight completed, or `None` while it is in flight.
    pub fn completed_at(&self) -> Option<Instant> {
        self.0.completed_at.get().copied()
    }

    /// Returns whether an attempt of another replica replaced the flight.
    pub fn is_remote(&self) -> bool {
        self.0.is_remote.load(Relaxed)
    }

    /// Moves the beginning to `at`: a flight that waits for a lease begins later than requested.
    pub(super) fn set_started_at(&self, at: Time) {
        self.0.started_at_ms.store(at.as_millis(), Relaxed);
    }

    /// Marks the flight as replaced by an attempt of another replica that began at `at`.
    pub(super) fn mark_superseded(&self, at: Time) {
        self.set_started_at(at);
        self.0.is_remote.store(true, Relaxed);
    }

    /// Marks the flight, and its requests to providers, as awaited by a live request.
    pub(super) fn mark_urgent(&self) {
        self.0.priority.mark_urgent();
    }

    pub(super) fn urgent_flag(&self) -> &AtomicBool {
        self.0.priority.flag()
    }

    /// Returns the priority of the flight's requests to providers.
    pub(super) fn priority(&self) -> CallPriority {
        self.0.priority.clone()
    }

    /// Wakes the waiters. To be called after the outcome is published.
    pub(super) fn mark_completed(&self, at: Instant) {
        self.0.completed_at.get_or_init(|| at);
        self.0.completed.cancel();
    }

    /// Ends the flight without an outcome.
    pub(super) fn abort(&self) {
        self.0.abort.cancel();
    }

    pub(super) fn abort_token(&self) -> &CancellationToken {
        &self.0.abort
    }

    /// Returns the token that is cancelled once the flight is reported to the other replicas. The
    /// next flight of the source requests its lease only then. `None` without other replicas.
    pub(super) fn reported_token(&self) -> Option<&CancellationToken> {
        self.0.reported.as_ref()
    }

    /// Stores the lease of the attempt, if there is one.
    pub(super) fn set_lease(&self, lease: Option<LeaseHandle>) {
        *self.0.lease.lock() = lease;
    }

    /// Returns the lease, to be released.
    pub(super) fn take_lease(&self) -> Option<LeaseHandle> {
        self.0.lease.lock().take()
    }

    /// Returns whether both are clones of one flight.
    pub(super) fn is_same_flight(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
