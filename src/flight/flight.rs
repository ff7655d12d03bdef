//! One attempt in the air, as those see it who wait for it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::domain::Time;
use crate::fleet::Ticket;

/// One attempt in the air. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Flight(Arc<Course>);

#[derive(Debug)]
struct Course {
    /// Milliseconds since the epoch.
    began: AtomicI64,
    /// Whether a live request waits for it.
    pressed: AtomicBool,
    /// Whether another replica's attempt took its place.
    foreign: AtomicBool,
    landed: CancellationToken,
    abort: CancellationToken,
    settled: CancellationToken,
    ticket: Mutex<Option<Ticket>>,
}

impl Flight {
    /// An attempt that begins at `now` and ends without an outcome when `abort` is cancelled.
    pub(super) fn new(now: Time, abort: CancellationToken) -> Self {
        Self(Arc::new(Course {
            began: AtomicI64::new(now.as_millis()),
            pressed: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            landed: CancellationToken::new(),
            abort,
            settled: CancellationToken::new(),
            ticket: Mutex::default(),
        }))
    }

    /// When it began: whatever it brings was asked for no sooner.
    pub fn began(&self) -> Time {
        Time::from_millis(self.0.began.load(Relaxed))
    }

    /// Waits until its outcome has been published.
    pub async fn landed(&self) {
        self.0.landed.cancelled().await;
    }

    /// Whether another replica's attempt took its place.
    pub fn is_foreign(&self) -> bool {
        self.0.foreign.load(Relaxed)
    }

    /// It began anew, later than it was wished for.
    pub(super) fn begins(&self, at: Time) {
        self.0.began.store(at.as_millis(), Relaxed);
    }

    /// Another replica's attempt, begun at `at`, took its place.
    pub(super) fn replaced(&self, at: Time) {
        self.begins(at);
        self.0.foreign.store(true, Relaxed);
    }

    /// A live request waits for it.
    pub(super) fn press(&self) {
        self.0.pressed.store(true, Relaxed);
    }

    pub(super) fn pressed(&self) -> &AtomicBool {
        &self.0.pressed
    }

    /// Its outcome has been published: whoever waits for it wakes.
    pub(super) fn land(&self) {
        self.0.landed.cancel();
    }

    /// Ends it without an outcome: nobody could use it any more.
    pub(super) fn abort(&self) {
        self.0.abort.cancel();
    }

    pub(super) fn aborted(&self) -> &CancellationToken {
        &self.0.abort
    }

    /// Cancelled when other replicas have been told of it too: the next attempt may ask them.
    pub(super) fn settled(&self) -> &CancellationToken {
        &self.0.settled
    }

    /// The lease that it flies under.
    pub(super) fn set_ticket(&self, ticket: Option<Ticket>) {
        *self.0.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket;
    }

    /// The lease that it flies under, to give it back.
    pub(super) fn take_ticket(&self) -> Option<Ticket> {
        self.0
            .ticket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether both are the same attempt.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
