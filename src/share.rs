//! Floor 4: the task that keeps this replica among the others: it opens the store that they share, takes in what they
//! tell, tells what they miss, and gives signs of life.
//!
//! Imports `domain`, `cache`, `clock`, `fetch`, `fleet`, `flight` and `store`. It is off everybody's way: whoever needs
//! the store asks the [`Fleet`] that this task keeps up to date, and is told at once when there is none.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::{Identity, Roster, Saved};
use crate::fetch::Fetch;
use crate::fleet::{Fleet, Terms};
use crate::flight::Flights;
use crate::store::shared::{Notice, Opened, SEEN_FOR, SharedError, SharedSession, SharedStore};

/// How often a replica says that it lives, and finds out whether the store does.
const BEAT: Duration = Duration::from_secs(1);

/// How long after it failed the store is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The most letters that are read at once.
const BATCH: usize = 32;

/// Keeps a replica among the others.
pub struct Keeper<F> {
    /// The store that they share.
    pub store: Arc<dyn SharedStore>,
    /// This replica.
    pub fleet: Arc<Fleet>,
    /// What takes in what others know.
    pub flights: Flights<F>,
    /// What is known.
    pub cache: Arc<Cache>,
    /// Now.
    pub clock: Clock,
    /// Plans every source anew: this replica shares from now on, or goes on alone.
    pub replan: Arc<dyn Fn() + Send + Sync>,
}

type Session = Arc<dyn SharedSession>;

/// A session over which everything has been taken in.
struct Opening {
    session: Session,
    notices: UnboundedReceiver<Notice>,
    /// What is newer here than in the store.
    missed: Vec<Saved>,
    /// When it was opened.
    at: Instant,
}

impl<F: Fetch> Keeper<F> {
    /// Runs until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut alone = false;
        loop {
            let Err(error) = self.share_once(&mut alone).await else {
                continue;
            };
            if !std::mem::replace(&mut alone, true) {
                self.part(&error);
            }
            sleep(RETRY).await;
        }
    }

    /// Shares for as long as it works. An error if it did not work for long: after a session that did, another one is
    /// opened at once, since what was slow for a moment is no reason to go alone.
    async fn share_once(&self, alone: &mut bool) -> Result<(), SharedError> {
        let opened = self
            .open()
            .await
            .inspect_err(|error| self.fleet.trip(None, error))?;
        let Opening {
            session,
            mut notices,
            mut missed,
            at,
        } = opened;
        self.fleet.join(Arc::clone(&session));
        self.joined(std::mem::replace(alone, false));
        let failed = loop {
            let failed = tokio::select! {
                failed = self.share(&session, &mut notices, std::mem::take(&mut missed), at) => {
                    self.fleet.trip(Some(&session), &failed);
                    failed
                }
                failed = self.fleet.parted(&session) => failed,
            };
            // One operation that took too long on a busy machine is not the end of a connection that still works.
            if notices.is_closed() || self.beat(&session, at).await.is_err() {
                break failed;
            }
            self.fleet.join(Arc::clone(&session));
        };
        let lasted = self.clock.instant().saturating_duration_since(at);
        if lasted < BEAT { Err(failed) } else { Ok(()) }
    }

    /// Opens a session and takes in all that the store holds.
    async fn open(&self) -> Result<Opening, SharedError> {
        let Opened { session, notices } = self.store.open().await?;
        let at = self.clock.instant();
        self.beat(&session, at).await?;
        let missed = self.take_in(&session).await?;
        Ok(Opening {
            session,
            notices,
            missed,
            at,
        })
    }

    fn joined(&self, was_alone: bool) {
        let replicas = self.fleet.view().replicas;
        if was_alone {
            info!(replicas, "calls and readings are shared again");
        } else {
            info!(replicas, "calls and readings are shared");
        }
        (self.replan)();
    }

    fn part(&self, error: &SharedError) {
        self.fleet.set_adrift();
        let replicas = self.fleet.asking_alone();
        warn!(
            replicas,
            "calls and readings are not shared for now, this replica goes on alone: failed to {error}"
        );
        (self.replan)();
    }

    /// Until the session fails.
    async fn share(
        &self,
        session: &Session,
        notices: &mut UnboundedReceiver<Notice>,
        missed: Vec<Saved>,
        opened: Instant,
    ) -> SharedError {
        for saved in missed {
            if let Some(terms) = self.terms(&saved) {
                self.fleet.land(None, saved, terms).await;
            }
        }
        let mut beat = opened + BEAT;
        let mut heard = Vec::new();
        loop {
            tokio::select! {
                count = notices.recv_many(&mut heard, BATCH) => {
                    if count == 0 {
                        return SharedError("listen to the other replicas: the connection ended".into());
                    }
                    if let Err(error) = self.listen(session, &mut heard).await {
                        return error;
                    }
                }
                () = sleep_until(beat) => {
                    if let Err(error) = self.beat(session, opened).await {
                        return error;
                    }
                    beat = self.clock.instant() + BEAT;
                }
            }
        }
    }

    async fn beat(&self, session: &Session, opened: Instant) -> Result<(), SharedError> {
        let before = self.clock.now();
        let beat = session.beat(self.fleet.name()).await?;
        let settled = self.clock.instant().saturating_duration_since(opened) > SEEN_FOR;
        self.fleet.beaten(beat, before, self.clock.now(), settled);
        Ok(())
    }

    /// Takes in all that the store holds; gives what is newer here.
    async fn take_in(&self, session: &Session) -> Result<Vec<Saved>, SharedError> {
        let snapshot = self.cache.snapshot();
        let identities = identities(snapshot.roster());
        let mut missed = Vec::new();
        for batch in identities.chunks(BATCH) {
            for (identity, letter) in batch.iter().zip(session.read(batch).await?) {
                let told = letter.and_then(|letter| self.fleet.read(*identity, &letter));
                let stamp = told.as_ref().and_then(|saved| saved.trail.last);
                if let Some(saved) = told {
                    self.flights.hear(saved);
                }
                let own = self.own(*identity).filter(|own| own.trail.last > stamp);
                missed.extend(own);
            }
        }
        Ok(missed)
    }

    /// Takes in what these notices tell of.
    async fn listen(
        &self,
        session: &Session,
        notices: &mut Vec<Notice>,
    ) -> Result<(), SharedError> {
        let snapshot = self.cache.snapshot();
        let known = identities(snapshot.roster());
        notices
            .retain(|notice| !self.fleet.is_own(&notice.token) && known.contains(&notice.identity));
        let landed: Vec<Identity> = notices
            .iter()
            .filter(|notice| notice.landed)
            .map(|n| n.identity)
            .collect();
        let letters = if landed.is_empty() {
            Vec::new()
        } else {
            session.read(&landed).await?
        };
        let mut letters = letters.into_iter();
        for notice in notices.drain(..) {
            let letter = if notice.landed {
                letters.next().flatten()
            } else {
                None
            };
            let saved = letter.and_then(|letter| self.fleet.read(notice.identity, &letter));
            let at = saved.as_ref().and_then(|saved| saved.trail.last);
            if let Some(saved) = saved {
                self.flights.hear(saved);
            }
            self.fleet.heard(notice.identity, &notice.token, at);
        }
        Ok(())
    }

    /// What is known here of a source.
    fn own(&self, identity: Identity) -> Option<Saved> {
        let snapshot = self.cache.snapshot();
        let roster = snapshot.roster();
        let at = (0..roster.sources().len()).find(|at| roster.identity(*at) == identity)?;
        snapshot.saved_of(&roster.sources()[at].name)
    }

    fn terms(&self, saved: &Saved) -> Option<Terms> {
        let snapshot = self.cache.snapshot();
        snapshot
            .roster()
            .get(saved.name.as_str())
            .and_then(|source| Terms::of(source))
    }
}

/// Of all fetched sources.
fn identities(roster: &Roster) -> Vec<Identity> {
    let fetched = roster
        .sources()
        .iter()
        .enumerate()
        .filter(|(_, source)| source.pace().is_some());
    fetched.map(|(at, _)| roster.identity(at)).collect()
}
