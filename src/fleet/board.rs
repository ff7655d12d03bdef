//! Leave to call a source's providers: from the fleet if it can be asked, else from nobody.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout_at;

use crate::domain::{Identity, Pace, Saved, Time};
use crate::store::shared::{LEASE_MARGIN, Lease, Letter, Step, Taken, Wish};

use super::Fleet;

/// How much later than a lease ends it is asked for again.
const AFTER: Duration = Duration::from_millis(2);

/// How often one attempt asks for a lease at most before it flies without.
const PATIENCE: u32 = 16;

/// An attempt that wants to call the providers.
pub struct Passage<'p> {
    /// Of which source.
    pub identity: Identity,
    /// Its pace.
    pub pace: Pace,
    /// When the newest attempt of this run that is known here began; a scheduled one is moot if there is a newer one.
    pub known: Option<Time>,
    /// Whether a live request waits for it: then an outcome from before does not do.
    pub pressed: &'p AtomicBool,
    /// Takes in what others know.
    pub hear: &'p (dyn Fn(Saved) + Send + Sync),
}

/// What a fleet answers.
pub enum Boarding {
    /// Call them; with this lease, if the fleet was asked.
    Fly(Option<Ticket>),
    /// Another replica has; what it brought has been taken in. If it was awaited: when that attempt began.
    Told(Option<Time>),
    /// Nobody may call them before.
    Rest(Time),
}

/// A lease that this replica holds, or may hold.
#[derive(Debug)]
pub struct Ticket {
    /// Of which source.
    pub(super) identity: Identity,
    /// Of which attempt.
    pub(super) token: String,
    /// Whether the store said so; else it may have, and the answer was lost.
    pub(super) sure: bool,
}

/// What became of one wish for a lease.
enum Turn {
    Over(Boarding),
    Wait(Lease, Duration),
    Again,
}

impl Fleet {
    /// Asks for leave. Waits while another replica calls the providers, until its outcome is here or its lease ends.
    pub async fn board(&self, passage: &Passage<'_>) -> Boarding {
        let mut yields = true;
        for _ in 0..PATIENCE {
            // Before the lease is asked for, so that no outcome goes by unheard.
            let bell = self.post.bell(passage.identity);
            match self.ask(passage, &mut yields).await {
                Turn::Over(boarding) => return boarding,
                Turn::Again => {}
                Turn::Wait(lease, left) => {
                    let until = self.clock.deadline(left + AFTER).at;
                    let _ = timeout_at(until, bell.cancelled()).await;
                    if let Some(at) = self.post.outcome_of(passage.identity, &lease.token) {
                        return Boarding::Told(Some(at));
                    }
                }
            }
        }
        Boarding::Fly(None)
    }

    async fn ask(&self, passage: &Passage<'_>, yields: &mut bool) -> Turn {
        let Some(session) = self.session().await else {
            return Turn::Over(Boarding::Fly(None));
        };
        // No shorter than the least interval: that holds too if this replica dies in flight.
        let span = (passage.pace.timeout + LEASE_MARGIN).max(passage.pace.min_interval);
        let wish = Wish {
            identity: passage.identity,
            token: self.token(),
            span,
            known: passage.known.map(|known| self.to_store(known)),
            yields: *yields && !passage.pressed.load(Relaxed),
        };
        match session.take(&wish).await {
            Err(error) => {
                self.trip(Some(&session), &error);
                let ticket = Ticket {
                    identity: wish.identity,
                    token: wish.token,
                    sure: false,
                };
                Turn::Over(Boarding::Fly(Some(ticket)))
            }
            Ok(Taken::Granted) => {
                self.taken.fetch_add(1, Relaxed);
                Turn::Over(Boarding::Fly(Some(Ticket {
                    identity: wish.identity,
                    token: wish.token,
                    sure: true,
                })))
            }
            Ok(Taken::Told(letter)) => {
                *yields = self.take_in(passage, &letter);
                if *yields && !passage.pressed.load(Relaxed) {
                    Turn::Over(Boarding::Told(None))
                } else {
                    Turn::Again
                }
            }
            Ok(Taken::Held {
                lease,
                left,
                letter,
            }) => {
                if let Some(letter) = letter {
                    self.take_in(passage, &letter);
                }
                match lease.step(left, span, passage.pace.min_interval) {
                    Step::Rest(left) => {
                        Turn::Over(Boarding::Rest(self.clock.now().after(left + AFTER)))
                    }
                    Step::Wait(left) => Turn::Wait(lease, left),
                }
            }
        }
    }

    /// True if it could be read.
    fn take_in(&self, passage: &Passage<'_>, letter: &Letter) -> bool {
        let saved = self.read(passage.identity, letter);
        let read = saved.is_some();
        saved.into_iter().for_each(passage.hear);
        read
    }
}
