//! One attempt in the air, as those see it who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::Time;
use crate::fetch::CallPriority;
use crate::replicas::LeaseHandle;

/// One attempt in the air. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Flight(Arc<FlightInner>);

#[derive(Debug)]
struct FlightInner {
    /// Milliseconds since the epoch.
    started_at_ms: AtomicI64,
    /// Whether a live request waits for it.
    priority: CallPriority,
    /// Whether another replica's attempt took its place.
    is_remote: AtomicBool,
    completed: CancellationToken,
    abort: CancellationToken,
    reported: CancellationToken,
    lease: Mutex<Option<LeaseHandle>>,
}

impl Flight {
    /// An attempt that begins at `now` and ends without an outcome when `abort` is cancelled.
    pub(crate) fn new(now: Time, abort: CancellationToken) -> Self {
        Self(Arc::new(FlightInner {
            started_at_ms: AtomicI64::new(now.as_millis()),
            priority: CallPriority::default(),
            is_remote: AtomicBool::new(false),
            completed: CancellationToken::new(),
            abort,
            reported: CancellationToken::new(),
            lease: Mutex::default(),
        }))
    }

    /// When it began: whatever it brings was asked for no sooner.
    pub fn started_at(&self) -> Time {
        Time::from_millis(self.0.started_at_ms.load(Relaxed))
    }

    /// Waits until its outcome has been published.
    pub async fn wait_for_completion(&self) {
        self.0.completed.cancelled().await;
    }

    /// Whether another replica's attempt took its place.
    pub fn is_remote(&self) -> bool {
        self.0.is_remote.load(Relaxed)
    }

    /// It began anew, later than it was wished for.
    pub(crate) fn set_started_at(&self, at: Time) {
        self.0.started_at_ms.store(at.as_millis(), Relaxed);
    }

    /// Another replica's attempt, begun at `at`, took its place.
    pub(crate) fn mark_superseded(&self, at: Time) {
        self.set_started_at(at);
        self.0.is_remote.store(true, Relaxed);
    }

    /// A live request waits for it.
    pub(crate) fn mark_urgent(&self) {
        self.0.priority.mark_urgent();
    }

    pub(crate) fn urgent_flag(&self) -> &AtomicBool {
        self.0.priority.flag()
    }

    /// Whether a live request waits for it, for its calls.
    pub(crate) fn priority(&self) -> CallPriority {
        self.0.priority.clone()
    }

    /// Its outcome has been published: whoever waits for it wakes.
    pub(crate) fn mark_completed(&self) {
        self.0.completed.cancel();
    }

    /// Ends it without an outcome: nobody could use it any more.
    pub(crate) fn abort(&self) {
        self.0.abort.cancel();
    }

    pub(crate) fn abort_token(&self) -> &CancellationToken {
        &self.0.abort
    }

    /// Cancelled when other replicas have been told of it too: the next attempt may ask them.
    pub(crate) fn reported_token(&self) -> &CancellationToken {
        &self.0.reported
    }

    /// The lease that it flies under.
    pub(crate) fn set_lease(&self, ticket: Option<LeaseHandle>) {
        *self.0.lease.lock() = ticket;
    }

    /// The lease that it flies under, to give it back.
    pub(crate) fn take_lease(&self) -> Option<LeaseHandle> {
        self.0.lease.lock().take()
    }

    /// Whether both are the same attempt.
    pub(crate) fn is_same_flight(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
