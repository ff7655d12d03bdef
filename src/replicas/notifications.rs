//! Who waits for the outcome of another replica's attempt, and what came last.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::domain::{SourceIdentity, Time};

/// What came of the attempts of other replicas, by source.
#[derive(Debug, Default)]
pub(crate) struct OutcomeNotifier(Mutex<HashMap<SourceIdentity, NotifierSlot>>);

#[derive(Debug, Default)]
struct NotifierSlot {
    /// Whose attempt ended last, and when the one began whose outcome is known here since; none if it could not be read.
    last_attempt: Option<(String, Option<Time>)>,
    /// Cancelled when the next one ends.
    next_end: CancellationToken,
}

impl OutcomeNotifier {
    /// Rings when the next attempt at this source ends.
    pub(crate) fn subscribe(&self, identity: SourceIdentity) -> CancellationToken {
        self.lock_slots()
            .entry(identity)
            .or_default()
            .next_end
            .clone()
    }

    /// The attempt with this token ended.
    pub(crate) fn notify_waiters(&self, identity: SourceIdentity, token: &str, at: Option<Time>) {
        let mut slots = self.lock_slots();
        let slot = slots.entry(identity).or_default();
        slot.last_attempt = Some((token.to_owned(), at));
        std::mem::take(&mut slot.next_end).cancel();
    }

    /// When the attempt with this token began, or a later one, if its outcome is known here.
    pub(crate) fn outcome_start(&self, identity: SourceIdentity, token: &str) -> Option<Time> {
        let slots = self.lock_slots();
        let (last, at) = slots.get(&identity)?.last_attempt.as_ref()?;
        at.filter(|_| last == token)
    }

    fn lock_slots(&self) -> MutexGuard<'_, HashMap<SourceIdentity, NotifierSlot>> {
        self.0.lock()
    }
}
