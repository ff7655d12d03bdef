//! Notifications about the attempts of other replicas.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::{SourceIdentity, Time};

/// Wakes flights that wait for an attempt of another replica.
#[derive(Debug, Default)]
pub(super) struct OutcomeNotifier(Mutex<HashMap<SourceIdentity, NotifierSlot>>);

/// The latest attempt of another replica at one source.
#[derive(Debug, Default)]
struct NotifierSlot {
    /// The token of the latest attempt that ended, and when the attempt began whose outcome is
    /// published here since; `None` if its state could not be read.
    last_attempt: Option<(String, Option<Time>)>,
    /// Cancelled when the next attempt ends.
    next_end: CancellationToken,
}

impl OutcomeNotifier {
    /// Returns a token that is cancelled when the next attempt at the source ends.
    pub(super) fn subscribe(&self, identity: SourceIdentity) -> CancellationToken {
        let mut slots = self.0.lock();
        slots.entry(identity).or_default().next_end.clone()
    }

    /// Records the end of the attempt with this token and wakes the subscribers.
    pub(super) fn notify_waiters(
        &self,
        identity: SourceIdentity,
        token: &str,
        started_at: Option<Time>,
    ) {
        let mut slots = self.0.lock();
        let slot = slots.entry(identity).or_default();
        slot.last_attempt = Some((token.to_owned(), started_at));
        std::mem::take(&mut slot.next_end).cancel();
    }

    /// Returns when the attempt with this token began, or a later one of the same replica, if its
    /// outcome is published here.
    pub(super) fn outcome_start(&self, identity: SourceIdentity, token: &str) -> Option<Time> {
        let slots = self.0.lock();
        let (last_token, started_at) = slots.get(&identity)?.last_attempt.as_ref()?;
        started_at.filter(|_| last_token == token)
    }
}
