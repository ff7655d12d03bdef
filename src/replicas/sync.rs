//! The task that keeps the session with the shared store: it opens sessions, merges the states of
//! other replicas, publishes the states that they miss, and sends heartbeats.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::aggregate::{Cache, Flights, ReplicaCoordinator as _};
use crate::domain::{SourceIdentity, SourceRecord, SourceSet};
use crate::process::Clock;

use super::protocol::{Notification, REPLICA_EXPIRY};
use super::replica::LocalReplica;
use super::shared_store::{OpenedSession, SharedSession, SharedStore, SharedStoreError};

/// Time between two heartbeats, which also detect a store that does not respond.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Time between a failed session and the next one.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of states that are read in one operation.
const READ_BATCH: usize = 32;

/// The background task.
pub struct ReplicaSync {
    /// The store that replicas share.
    pub store: Arc<dyn SharedStore>,
    /// This replica.
    pub replica: Arc<LocalReplica>,
    /// Publishes the states of other replicas.
    pub flights: Flights,
    /// Holds the states of this replica.
    pub cache: Arc<Cache>,
    /// Dates heartbeats.
    pub clock: Clock,
}

type SharedSessionRef = Arc<dyn SharedSession>;

/// A session whose stored states are merged.
struct OpenSession {
    session: SharedSessionRef,
    notifications: Receiver<Notification>,
    /// States that are newer here than in the store.
    newer_local: Vec<SourceRecord>,
    opened_at: Instant,
}

impl ReplicaSync {
    /// Opens one session after another until `stop` is cancelled.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.run_sessions() => {}
        }
    }

    async fn run_sessions(&self) {
        loop {
            let Err(error) = self.run_session().await else {
                continue;
            };
            // Logged and planned once, not at every further attempt to connect.
            if !self.replica.set_standalone() {
                let replicas = self.replica.independent_replicas();
                warn!(
                    replicas,
                    error = error.to_string(),
                    "shared store disconnected, continuing without other replicas"
                );
                self.flights.replan_sources();
            }
            sleep(RECONNECT_DELAY).await;
        }
    }

    /// Opens a session and shares until it fails. Returns an error if it lasted less than
    /// [`HEARTBEAT_INTERVAL`]. After a longer one the next session is opened at once: a short delay
    /// of the store is no reason to become standalone.
    async fn run_session(&self) -> Result<(), SharedStoreError> {
        let OpenSession {
            session,
            mut notifications,
            mut newer_local,
            opened_at,
        } = self
            .open_session()
            .await
            .inspect_err(|error| self.replica.disconnect(None, error))?;
        let was_standalone = self.replica.attach_session(Arc::clone(&session));
        let replicas = self.replica.status().replica_count;
        if was_standalone {
            info!(replicas, "shared store reconnected");
        } else {
            info!(replicas, "shared store connected");
        }
        self.flights.replan_sources();
        let error = loop {
            let missed = std::mem::take(&mut newer_local);
            let error = tokio::select! {
                error = self.sync_session(&session, &mut notifications, missed, opened_at) => {
                    self.replica.disconnect(Some(&session), &error);
                    error
                }
                // An operation of a flight has failed.
                error = self.replica.wait_until_disconnected(&session) => error,
            };
            // One operation that took too long on a busy machine does not end a connection that
            // still works.
            if notifications.is_closed() || self.send_heartbeat(&session, opened_at).await.is_err()
            {
                break error;
            }
            self.replica.attach_session(Arc::clone(&session));
        };
        let duration = self.clock.instant().saturating_duration_since(opened_at);
        if duration < HEARTBEAT_INTERVAL {
            Err(error)
        } else {
            Ok(())
        }
    }

    /// Opens a session and merges all stored states, before flights use the session.
    async fn open_session(&self) -> Result<OpenSession, SharedStoreError> {
        let OpenedSession {
            session,
            notifications,
        } = self.store.open_session().await?;
        let opened_at = self.clock.instant();
        // The heartbeat first: it measures the clock offset by which states are translated.
        self.send_heartbeat(&session, opened_at).await?;
        let newer_local = self.pull_states(&session).await?;
        Ok(OpenSession {
            session,
            notifications,
            newer_local,
            opened_at,
        })
    }

    /// Publishes the states in `newer_local`, then handles notifications and sends heartbeats until
    /// an operation fails; returns its error.
    async fn sync_session(
        &self,
        session: &SharedSessionRef,
        notifications: &mut Receiver<Notification>,
        newer_local: Vec<SourceRecord>,
        opened_at: Instant,
    ) -> SharedStoreError {
        for record in newer_local {
            let snapshot = self.cache.snapshot();
            if let Some(source) = snapshot.source_set().get(record.name.as_str()) {
                self.replica.publish_and_release(None, record, source).await;
            }
        }
        let mut next_heartbeat = opened_at + HEARTBEAT_INTERVAL;
        let mut received = Vec::new();
        loop {
            tokio::select! {
                count = notifications.recv_many(&mut received, READ_BATCH) => {
                    if count == 0 {
                        return SharedStoreError("receive notifications: the connection ended".into());
                    }
                    if let Err(error) = self.handle_notifications(session, &mut received).await {
                        return error;
                    }
                }
                () = sleep_until(next_heartbeat) => {
                    if let Err(error) = self.send_heartbeat(session, opened_at).await {
                        return error;
                    }
                    next_heartbeat = self.clock.instant() + HEARTBEAT_INTERVAL;
                }
            }
        }
    }

    async fn send_heartbeat(
        &self,
        session: &SharedSessionRef,
        opened_at: Instant,
    ) -> Result<(), SharedStoreError> {
        let before = self.clock.now();
        let reply = session.send_heartbeat(self.replica.name()).await?;
        let session_age = self.clock.instant().saturating_duration_since(opened_at);
        let is_settled = session_age > REPLICA_EXPIRY;
        self.replica
            .on_heartbeat(reply, before, self.clock.now(), is_settled);
        Ok(())
    }

    /// Merges all stored states; returns those that are newer here.
    async fn pull_states(
        &self,
        session: &SharedSessionRef,
    ) -> Result<Vec<SourceRecord>, SharedStoreError> {
        let identities = fetched_identities(self.cache.snapshot().source_set());
        let mut newer_local = Vec::new();
        let mut rest = &identities[..];
        while !rest.is_empty() {
            let states = session
                .read_states(&rest[..rest.len().min(READ_BATCH)])
                .await?;
            if states.is_empty() || states.len() > rest.len() {
                return Err(SharedStoreError(
                    "read states: a reply of another length".into(),
                ));
            }
            let (batch, others) = rest.split_at(states.len());
            rest = others;
            for (identity, state) in batch.iter().zip(states) {
                let stored = state.and_then(|state| self.replica.decode_state(*identity, &state));
                let stored_attempt = stored
                    .as_ref()
                    .and_then(|record| record.history.last_attempt);
                if let Some(record) = stored {
                    self.flights.publish_remote(&record);
                }
                let local = self.local_state(*identity);
                newer_local
                    .extend(local.filter(|record| record.history.last_attempt > stored_attempt));
            }
        }
        Ok(newer_local)
    }

    /// Merges the states that these notifications announce and wakes the waiting flights.
    async fn handle_notifications(
        &self,
        session: &SharedSessionRef,
        notifications: &mut Vec<Notification>,
    ) -> Result<(), SharedStoreError> {
        let known = fetched_identities(self.cache.snapshot().source_set());
        // Other replicas may have sources that this configuration does not have.
        notifications.retain(|notification| {
            !self.replica.is_own_token(&notification.token)
                && known.contains(&notification.identity)
        });
        let changed: Vec<SourceIdentity> = notifications
            .iter()
            .filter(|notification| notification.has_state)
            .map(|notification| notification.identity)
            .collect();
        let mut unread = &changed[..];
        let mut states = Vec::new().into_iter();
        for notification in notifications.drain(..) {
            let identity = notification.identity;
            if notification.has_state && states.len() == 0 {
                let read = session.read_states(unread).await?;
                unread = unread.get(read.len()..).unwrap_or_default();
                states = read.into_iter();
            }
            let state = if notification.has_state {
                states.next().flatten()
            } else {
                None
            };
            let record = state.and_then(|state| self.replica.decode_state(identity, &state));
            // Published before the waiters wake, which then find the outcome in the cache.
            if let Some(record) = &record {
                self.flights.publish_remote(record);
            }
            let started_at = record.and_then(|record| record.history.last_attempt);
            self.replica
                .record_notification(identity, &notification.token, started_at);
        }
        Ok(())
    }

    fn local_state(&self, identity: SourceIdentity) -> Option<SourceRecord> {
        let snapshot = self.cache.snapshot();
        let source_set = snapshot.source_set();
        let position = (0..source_set.sources().len())
            .find(|position| source_set.identity(*position) == identity)?;
        snapshot.source_record(&source_set.sources()[position].name)
    }
}

fn fetched_identities(source_set: &SourceSet) -> Vec<SourceIdentity> {
    let sources = source_set.sources().iter().enumerate();
    sources
        .filter(|(_, source)| source.schedule().is_some())
        .map(|(position, _)| source_set.identity(position))
        .collect()
}
