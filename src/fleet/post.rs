//! Who waits for the outcome of another replica's attempt, and what came last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::domain::{Identity, Time};

/// What came of the attempts of other replicas, by source.
#[derive(Debug, Default)]
pub(super) struct Post(Mutex<HashMap<Identity, Slot>>);

#[derive(Debug, Default)]
struct Slot {
    /// Whose attempt ended last, and when the one began whose outcome is known here since; none if it could not be read.
    last: Option<(String, Option<Time>)>,
    /// Cancelled when the next one ends.
    bell: CancellationToken,
}

impl Post {
    /// Rings when the next attempt at this source ends.
    pub(super) fn bell(&self, identity: Identity) -> CancellationToken {
        self.slots().entry(identity).or_default().bell.clone()
    }

    /// The attempt with this token ended.
    pub(super) fn ring(&self, identity: Identity, token: &str, at: Option<Time>) {
        let mut slots = self.slots();
        let slot = slots.entry(identity).or_default();
        slot.last = Some((token.to_owned(), at));
        std::mem::take(&mut slot.bell).cancel();
    }

    /// When the attempt with this token began, or a later one, if its outcome is known here.
    pub(super) fn outcome_of(&self, identity: Identity, token: &str) -> Option<Time> {
        let slots = self.slots();
        let (last, at) = slots.get(&identity)?.last.as_ref()?;
        at.filter(|_| last == token)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Identity, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
