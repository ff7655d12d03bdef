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

use super::protocol::{Notification, REPLICA_EXPIRY};
use super::replica::{LocalReplica, ShareParams};
use super::shared_store::{OpenedSession, SharedSession, SharedStore, SharedStoreError};
use crate::aggregate::Cache;
use crate::aggregate::Flights;
use crate::domain::{SourceIdentity, SourceRecord, SourceSet};
use crate::process::Clock;

/// How often a replica says that it lives, and finds out whether the store does.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How long after it failed the store is tried again.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// The most letters that are read at once.
const READ_BATCH: usize = 32;

/// Keeps a replica among the others.
pub struct ReplicaSync {
    /// The store that they share.
    pub store: Arc<dyn SharedStore>,
    /// This replica.
    pub replica: Arc<LocalReplica>,
    /// What takes in what others know.
    pub flights: Flights,
    /// What is known.
    pub cache: Arc<Cache>,
    /// Now.
    pub clock: Clock,
    /// Plans every source anew: this replica shares from now on, or goes on alone.
    pub replan_sources: Arc<dyn Fn() + Send + Sync>,
}

type SharedSessionRef = Arc<dyn SharedSession>;

/// A session over which everything has been taken in.
struct OpenSession {
    session: SharedSessionRef,
    notifications: UnboundedReceiver<Notification>,
    /// What is newer here than in the store.
    newer_local: Vec<SourceRecord>,
    /// When it was opened.
    opened_at: Instant,
}

impl ReplicaSync {
    /// Runs until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.run_sessions() => {}
        }
    }

    async fn run_sessions(&self) {
        let mut alone = false;
        loop {
            let Err(error) = self.run_session(&mut alone).await else {
                continue;
            };
            if !std::mem::replace(&mut alone, true) {
                self.handle_disconnected(&error);
            }
            sleep(RECONNECT_DELAY).await;
        }
    }

    /// Shares for as long as it works. An error if it did not work for long: after a session that did, another one is
    /// opened at once, since what was slow for a moment is no reason to go alone.
    async fn run_session(&self, alone: &mut bool) -> Result<(), SharedStoreError> {
        let opened = self
            .open_session()
            .await
            .inspect_err(|error| self.replica.disconnect(None, error))?;
        let OpenSession {
            session,
            mut notifications,
            mut newer_local,
            opened_at,
        } = opened;
        self.replica.attach_session(Arc::clone(&session));
        self.handle_connected(std::mem::replace(alone, false));
        let failed = loop {
            let failed = tokio::select! {
                failed = self.sync_session(&session, &mut notifications, std::mem::take(&mut newer_local), opened_at) => {
                    self.replica.disconnect(Some(&session), &failed);
                    failed
                }
                failed = self.replica.wait_until_disconnected(&session) => failed,
            };
            // One operation that took too long on a busy machine is not the end of a connection that still works.
            if notifications.is_closed() || self.send_heartbeat(&session, opened_at).await.is_err()
            {
                break failed;
            }
            self.replica.attach_session(Arc::clone(&session));
        };
        let lasted = self.clock.instant().saturating_duration_since(opened_at);
        if lasted < HEARTBEAT_INTERVAL {
            Err(failed)
        } else {
            Ok(())
        }
    }

    /// Opens a session and takes in all that the store holds.
    async fn open_session(&self) -> Result<OpenSession, SharedStoreError> {
        let OpenedSession {
            session,
            notifications,
        } = self.store.open_session().await?;
        let opened_at = self.clock.instant();
        self.send_heartbeat(&session, opened_at).await?;
        let newer_local = self.pull_states(&session).await?;
        Ok(OpenSession {
            session,
            notifications,
            newer_local,
            opened_at,
        })
    }

    fn handle_connected(&self, was_alone: bool) {
        let replicas = self.replica.status().replica_count;
        if was_alone {
            info!(replicas, "calls and readings are shared again");
        } else {
            info!(replicas, "calls and readings are shared");
        }
        (self.replan_sources)();
    }

    fn handle_disconnected(&self, error: &SharedStoreError) {
        self.replica.set_standalone();
        let replicas = self.replica.independent_replicas();
        warn!(
            replicas,
            "calls and readings are not shared for now, this replica goes on alone: failed to {error}"
        );
        (self.replan_sources)();
    }

    /// Until the session fails.
    async fn sync_session(
        &self,
        session: &SharedSessionRef,
        notices: &mut UnboundedReceiver<Notification>,
        missed: Vec<SourceRecord>,
        opened: Instant,
    ) -> SharedStoreError {
        for saved in missed {
            if let Some(terms) = self.share_params(&saved) {
                self.replica.report_and_release(None, saved, terms).await;
            }
        }
        let mut beat = opened + HEARTBEAT_INTERVAL;
        let mut heard = Vec::new();
        loop {
            tokio::select! {
                count = notices.recv_many(&mut heard, READ_BATCH) => {
                    if count == 0 {
                        return SharedStoreError("listen to the other replicas: the connection ended".into());
                    }
                    if let Err(error) = self.handle_notifications(session, &mut heard).await {
                        return error;
                    }
                }
                () = sleep_until(beat) => {
                    if let Err(error) = self.send_heartbeat(session, opened).await {
                        return error;
                    }
                    beat = self.clock.instant() + HEARTBEAT_INTERVAL;
                }
            }
        }
    }

    async fn send_heartbeat(
        &self,
        session: &SharedSessionRef,
        opened: Instant,
    ) -> Result<(), SharedStoreError> {
        let before = self.clock.now();
        let beat = session.send_heartbeat(self.replica.name()).await?;
        let settled = self.clock.instant().saturating_duration_since(opened) > REPLICA_EXPIRY;
        self.replica
            .on_heartbeat(beat, before, self.clock.now(), settled);
        Ok(())
    }

    /// Takes in all that the store holds; gives what is newer here.
    async fn pull_states(
        &self,
        session: &SharedSessionRef,
    ) -> Result<Vec<SourceRecord>, SharedStoreError> {
        let snapshot = self.cache.snapshot();
        let identities = fetched_identities(snapshot.source_set());
        let mut missed = Vec::new();
        for batch in identities.chunks(READ_BATCH) {
            for (identity, letter) in batch.iter().zip(session.read_states(batch).await?) {
                let told = letter.and_then(|letter| self.replica.decode_state(*identity, &letter));
                let stamp = told.as_ref().and_then(|saved| saved.history.last_attempt);
                if let Some(saved) = told {
                    self.flights.publish_remote(saved);
                }
                let own = self
                    .local_state(*identity)
                    .filter(|own| own.history.last_attempt > stamp);
                missed.extend(own);
            }
        }
        Ok(missed)
    }

    /// Takes in what these notices tell of.
    async fn handle_notifications(
        &self,
        session: &SharedSessionRef,
        notices: &mut Vec<Notification>,
    ) -> Result<(), SharedStoreError> {
        let snapshot = self.cache.snapshot();
        let known = fetched_identities(snapshot.source_set());
        notices.retain(|notice| {
            !self.replica.is_own_token(&notice.token) && known.contains(&notice.identity)
        });
        let landed: Vec<SourceIdentity> = notices
            .iter()
            .filter(|notice| notice.has_state)
            .map(|n| n.identity)
            .collect();
        let letters = if landed.is_empty() {
            Vec::new()
        } else {
            session.read_states(&landed).await?
        };
        let mut letters = letters.into_iter();
        for notice in notices.drain(..) {
            let letter = if notice.has_state {
                letters.next().flatten()
            } else {
                None
            };
            let saved =
                letter.and_then(|letter| self.replica.decode_state(notice.identity, &letter));
            let at = saved.as_ref().and_then(|saved| saved.history.last_attempt);
            if let Some(saved) = saved {
                self.flights.publish_remote(saved);
            }
            self.replica
                .record_notification(notice.identity, &notice.token, at);
        }
        Ok(())
    }

    /// What is known here of a source.
    fn local_state(&self, identity: SourceIdentity) -> Option<SourceRecord> {
        let snapshot = self.cache.snapshot();
        let roster = snapshot.source_set();
        let at = (0..roster.sources().len()).find(|at| roster.identity(*at) == identity)?;
        snapshot.source_record(&roster.sources()[at].name)
    }

    fn share_params(&self, saved: &SourceRecord) -> Option<ShareParams> {
        let snapshot = self.cache.snapshot();
        snapshot
            .source_set()
            .get(saved.name.as_str())
            .and_then(|source| ShareParams::from_source(source))
    }
}

/// Of all fetched sources.
fn fetched_identities(roster: &SourceSet) -> Vec<SourceIdentity> {
    let fetched = roster
        .sources()
        .iter()
        .enumerate()
        .filter(|(_, source)| source.schedule().is_some());
    fetched.map(|(at, _)| roster.identity(at)).collect()
}
