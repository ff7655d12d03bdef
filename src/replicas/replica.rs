//! This replica: its session with the shared store, its counters, and the translation of times
//! between both clocks.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::domain::{SourceIdentity, SourceRecord, Time};
use crate::metrics::StoreErrorCounter;
use crate::process::Clock;

use super::clock_offset::ClockOffset;
use super::codec::StoredStateError;
use super::notifications::OutcomeNotifier;
use super::shared_store::{HeartbeatReply, SharedSession, SharedStoreError, StoredState};
use super::status::{ReplicaMode, ReplicaStatus};

/// How long an operation waits for the first session after the start.
const FIRST_CONNECT_WAIT: Duration = Duration::from_millis(800);

/// How far in the future a time of another replica may lie: the difference of two clocks that agree.
const MAX_FUTURE_OFFSET: Duration = Duration::from_millis(250);

/// This replica.
pub struct LocalReplica {
    /// Unique among the replicas; a new one after each start.
    name: String,
    pub(super) clock: Clock,
    connection: watch::Sender<StoreConnection>,
    clock_offset: Mutex<ClockOffset>,
    /// The number of replicas at the latest heartbeat.
    replica_count: AtomicU32,
    token_counter: AtomicU64,
    pub(super) leases_acquired: AtomicU64,
    pub(super) leases_lost: AtomicU64,
    remote_attempts: AtomicU64,
    pub(super) notifier: OutcomeNotifier,
    last_error: Mutex<Option<Arc<str>>>,
    /// Sources whose stored state could not be read, which is logged once per source.
    unreadable_sources: Mutex<HashSet<SourceIdentity>>,
    /// Counts failed operations of the store.
    errors: StoreErrorCounter,
}

/// The session with the store.
enum StoreConnection {
    /// The first session is being opened.
    Connecting,
    /// Operations use this session.
    Connected(Arc<dyn SharedSession>),
    /// The session has failed, perhaps for a moment.
    Disconnected,
    /// The next session has failed too. The schedule counts with independent replicas.
    Standalone,
}

impl LocalReplica {
    /// Returns a replica that waits for its first session.
    pub fn new(clock: Clock, errors: StoreErrorCounter) -> Self {
        Self {
            name: format!("{:016x}", fastrand::u64(..)),
            clock,
            connection: watch::Sender::new(StoreConnection::Connecting),
            clock_offset: Mutex::default(),
            replica_count: AtomicU32::new(0),
            token_counter: AtomicU64::new(0),
            leases_acquired: AtomicU64::new(0),
            leases_lost: AtomicU64::new(0),
            remote_attempts: AtomicU64::new(0),
            notifier: OutcomeNotifier::default(),
            last_error: Mutex::default(),
            unreadable_sources: Mutex::default(),
            errors,
        }
    }

    /// Returns the name among the replicas.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a token belongs to an attempt of this replica.
    pub(super) fn is_own_token(&self, token: &str) -> bool {
        token.split('-').next() == Some(&self.name)
    }

    /// Returns a new token for an attempt.
    pub(super) fn create_token(&self) -> String {
        format!("{}-{}", self.name, self.token_counter.fetch_add(1, Relaxed))
    }

    /// Returns the status for health pages and metrics.
    pub fn status(&self) -> ReplicaStatus {
        let mode = match *self.connection.borrow() {
            StoreConnection::Connecting => ReplicaMode::Connecting,
            StoreConnection::Connected(_) => ReplicaMode::Sharing,
            StoreConnection::Disconnected | StoreConnection::Standalone => {
                ReplicaMode::Disconnected
            }
        };
        let last_error = self.last_error.lock().clone();
        ReplicaStatus {
            mode,
            replica_count: self.replica_count.load(Relaxed),
            leases_acquired: self.leases_acquired.load(Relaxed),
            leases_lost: self.leases_lost.load(Relaxed),
            remote_attempts: self.remote_attempts.load(Relaxed),
            clock_offset_ms: self.clock_offset.lock().to_store_ms(),
            last_error: last_error.filter(|_| mode != ReplicaMode::Sharing),
        }
    }

    /// Uses this session from now on; returns whether the replica was standalone before.
    pub(super) fn attach_session(&self, session: Arc<dyn SharedSession>) -> bool {
        let previous = self
            .connection
            .send_replace(StoreConnection::Connected(session));
        matches!(previous, StoreConnection::Standalone)
    }

    /// Records a failed operation of `session`, or of opening one. Until the next session is
    /// attached, no operation waits for the store.
    pub(super) fn disconnect(
        &self,
        session: Option<&Arc<dyn SharedSession>>,
        error: &SharedStoreError,
    ) {
        self.errors.inc();
        debug!(error = error.to_string(), "shared store operation failed");
        *self.last_error.lock() = Some(Arc::clone(&error.0));
        self.connection.send_if_modified(|connection| {
            let is_affected = match (&*connection, session) {
                // A late failure of an earlier session does not end the current one.
                (StoreConnection::Connected(current), Some(failed)) => Arc::ptr_eq(current, failed),
                (StoreConnection::Connected(_), None) => true,
                (StoreConnection::Connecting, _) => session.is_none(),
                (StoreConnection::Disconnected | StoreConnection::Standalone, _) => false,
            };
            if is_affected {
                *connection = StoreConnection::Disconnected;
            }
            is_affected
        });
    }

    /// Makes the replica standalone until the next session is attached; returns whether it was
    /// before.
    pub(super) fn set_standalone(&self) -> bool {
        let previous = self.connection.send_replace(StoreConnection::Standalone);
        matches!(previous, StoreConnection::Standalone)
    }

    /// Returns the number of replicas that call the providers independently: those of the latest
    /// heartbeat while this one is standalone, else 1.
    pub(super) fn count_independent_replicas(&self) -> u32 {
        match *self.connection.borrow() {
            StoreConnection::Standalone => self.replica_count.load(Relaxed).max(1),
            _ => 1,
        }
    }

    /// Waits until `session` is not the current one any more; returns the latest error.
    pub(super) async fn wait_until_disconnected(
        &self,
        session: &Arc<dyn SharedSession>,
    ) -> SharedStoreError {
        let mut connection = self.connection.subscribe();
        let is_over = |connection: &StoreConnection| match connection {
            StoreConnection::Connected(current) => !Arc::ptr_eq(current, session),
            _ => true,
        };
        // Fails only if the sender is dropped, and `self` owns it.
        let _ = connection.wait_for(is_over).await;
        SharedStoreError(self.last_error.lock().clone().unwrap_or_default())
    }

    /// Returns the session, or `None` without one. Waits for the first session after the start.
    pub(super) async fn wait_for_session(&self) -> Option<Arc<dyn SharedSession>> {
        let mut connection = self.connection.subscribe();
        let connection = timeout(
            FIRST_CONNECT_WAIT,
            connection.wait_for(|connection| !matches!(connection, StoreConnection::Connecting)),
        )
        .await;
        match &*connection.ok()?.ok()? {
            StoreConnection::Connected(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// Waits until the replica is standalone.
    pub(super) async fn wait_until_standalone(&self) {
        let mut connection = self.connection.subscribe();
        let is_standalone =
            |connection: &StoreConnection| matches!(connection, StoreConnection::Standalone);
        // Fails only if the sender is dropped, and `self` owns it.
        let _ = connection.wait_for(is_standalone).await;
    }

    /// Records the reply to a heartbeat that was sent between `before` and `after`. `is_settled`
    /// once the session is older than the expiry of a replica.
    pub(super) fn on_heartbeat(
        &self,
        reply: HeartbeatReply,
        before: Time,
        after: Time,
        is_settled: bool,
    ) {
        // A new session counts only the replicas that have sent a heartbeat since the store became
        // reachable, so a lower number is ignored at first.
        let known = self.replica_count.load(Relaxed);
        let count = if is_settled {
            reply.live_replicas
        } else {
            reply.live_replicas.max(known)
        };
        self.replica_count.store(count, Relaxed);
        let mut offset = self.clock_offset.lock();
        let measured = offset.with_measurement(before, after, reply.store_time_us);
        if measured != *offset {
            warn!(
                ahead_ms = measured.to_store_ms(),
                "shared store clock differs from this replica's, translating times"
            );
            *offset = measured;
        }
    }

    /// Decodes and checks a stored state; its times are on this replica's clock. `None` if it is not
    /// used, which is logged once per source.
    pub(super) fn decode_state(
        &self,
        identity: SourceIdentity,
        state: &StoredState,
    ) -> Option<SourceRecord> {
        let record = state
            .decode_record(identity)
            .and_then(|record| self.to_local_times(record));
        let mut unreadable = self.unreadable_sources.lock();
        match record {
            Ok(record) => {
                unreadable.remove(&identity);
                Some(record)
            }
            Err(error) => {
                // A newer release beside this one is no fault of the store.
                if !matches!(error, StoredStateError::Version(_)) {
                    self.errors.inc();
                }
                if unreadable.insert(identity) {
                    warn!(
                        %identity, error = error.to_string(),
                        "state of another replica not used, the next attempt replaces it"
                    );
                }
                None
            }
        }
    }

    /// Wakes the flights that wait for the attempt with this token. `started_at` is set if its
    /// outcome is published here.
    pub(super) fn record_notification(
        &self,
        identity: SourceIdentity,
        token: &str,
        started_at: Option<Time>,
    ) {
        if started_at.is_some() {
            self.remote_attempts.fetch_add(1, Relaxed);
        }
        self.notifier.notify_waiters(identity, token, started_at);
    }

    /// Converts a time of this replica's clock to one of the store's.
    pub(super) fn to_store_time(&self, time: Time) -> Time {
        shift_time(time, self.clock_offset.lock().to_store_ms())
    }

    /// Converts the times of a state to the store's clock.
    pub(super) fn to_store_times(&self, record: SourceRecord) -> SourceRecord {
        let shift = self.clock_offset.lock().to_store_ms();
        // No time of this replica is in its future, so that none is cut off.
        record.shift_clock(shift, Time::from_millis(i64::MAX))
    }

    fn to_local_times(&self, record: SourceRecord) -> Result<SourceRecord, StoredStateError> {
        let shift = self.clock_offset.lock().to_local_ms();
        let latest = self.clock.now().plus(MAX_FUTURE_OFFSET);
        let is_plausible = |at| (Time::default()..=latest).contains(&shift_time(at, shift));
        if record.past_times().all(is_plausible) {
            Ok(record.shift_clock(shift, latest))
        } else {
            Err(StoredStateError::ImplausibleTime)
        }
    }
}

fn shift_time(time: Time, shift_ms: i64) -> Time {
    Time::from_millis(time.as_millis().saturating_add(shift_ms))
}
