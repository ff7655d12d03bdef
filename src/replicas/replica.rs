//! One replica of the fleet: its connection to the others, or that there is none.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::codec::{StoredStateError, encode_stored_state};
use super::shared_store::{
    HeartbeatReply, LeaseRelease, SharedSession, SharedStoreError, StoredState,
};
use crate::domain::{Source, SourceIdentity, SourceRecord, Time};
use crate::process::Clock;

use super::clock_offset::ClockOffset;
use super::lease::LeaseHandle;
use super::notifications::OutcomeNotifier;
use super::status::{ReplicaMode, ReplicaStatus};

/// How long an attempt waits for the first word from the store, at a start.
const FIRST_CONNECT_WAIT: Duration = Duration::from_millis(800);

/// How far in the future an instant may lie that another replica tells: what two clocks that agree may differ by.
const MAX_FUTURE_OFFSET: Duration = Duration::from_millis(250);

/// Is told of each operation of the store that failed.
pub type ReplicaErrorHook = Arc<dyn Fn() + Send + Sync>;

/// This replica.
pub struct LocalReplica {
    /// What it is called among the others; another one after each start.
    name: String,
    pub(crate) clock: Clock,
    connection: watch::Sender<StoreConnection>,
    /// Whether it goes on alone for good, until the store is back: plans are made accordingly.
    is_standalone: AtomicBool,
    clock_offset: Mutex<ClockOffset>,
    replica_count: AtomicU32,
    token_counter: AtomicU64,
    pub(crate) leases_acquired: AtomicU64,
    leases_lost: AtomicU64,
    remote_attempts: AtomicU64,
    pub(crate) notifier: OutcomeNotifier,
    last_error: Mutex<Option<Arc<str>>>,
    /// Sources whose letter could not be used, and that the operator has been told of.
    unreadable_sources: Mutex<HashSet<SourceIdentity>>,
    on_error: ReplicaErrorHook,
}

/// What the others are told about a source beside what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct ShareParams {
    /// How long its providers are to rest from the beginning of an attempt.
    min_interval: Duration,
    /// For how long somebody may want to know it.
    retention: Duration,
}

impl ShareParams {
    /// Those of a fetched source.
    pub fn from_source(source: &Source) -> Option<Self> {
        let keep = source
            .freshness_policy
            .ttl
            .saturating_add(source.freshness_policy.max_stale);
        source.schedule().map(|pace| Self {
            min_interval: pace.min_interval,
            retention: keep,
        })
    }
}

/// The connection.
#[derive(Clone)]
enum StoreConnection {
    Connecting,
    Connected(Arc<dyn SharedSession>),
    Disconnected,
}

impl LocalReplica {
    /// A replica that has not reached the store yet.
    pub fn new(clock: Clock, mishap: ReplicaErrorHook) -> Self {
        Self {
            name: format!("{:016x}", fastrand::u64(..)),
            clock,
            connection: watch::Sender::new(StoreConnection::Connecting),
            is_standalone: AtomicBool::new(false),
            clock_offset: Mutex::default(),
            replica_count: AtomicU32::new(0),
            token_counter: AtomicU64::new(0),
            leases_acquired: AtomicU64::new(0),
            leases_lost: AtomicU64::new(0),
            remote_attempts: AtomicU64::new(0),
            notifier: OutcomeNotifier::default(),
            last_error: Mutex::default(),
            unreadable_sources: Mutex::default(),
            on_error: mishap,
        }
    }

    /// What it is called among the others.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a token is one of its own.
    pub fn is_own_token(&self, token: &str) -> bool {
        token.split('-').next() == Some(&self.name)
    }

    /// How many replicas ask each by themselves now, as far as is known: plans stretch by that. 1 while calls are shared.
    pub fn independent_replicas(&self) -> u32 {
        if self.is_standalone.load(Relaxed) {
            self.replica_count.load(Relaxed).max(1)
        } else {
            1
        }
    }

    /// How it stands to the others.
    pub fn status(&self) -> ReplicaStatus {
        let role = match *self.connection.borrow() {
            StoreConnection::Connecting => ReplicaMode::Connecting,
            StoreConnection::Connected(_) => ReplicaMode::Sharing,
            StoreConnection::Disconnected => ReplicaMode::Disconnected,
        };
        ReplicaStatus {
            mode: role,
            replica_count: self.replica_count.load(Relaxed),
            leases_acquired: self.leases_acquired.load(Relaxed),
            leases_lost: self.leases_lost.load(Relaxed),
            remote_attempts: self.remote_attempts.load(Relaxed),
            clock_offset_ms: lock(&self.clock_offset).to_store_ms(),
            last_error: lock(&self.last_error)
                .clone()
                .filter(|_| role != ReplicaMode::Sharing),
        }
    }

    /// Shares through this session from now on.
    pub fn attach_session(&self, session: Arc<dyn SharedSession>) {
        self.is_standalone.store(false, Relaxed);
        self.connection
            .send_replace(StoreConnection::Connected(session));
    }

    /// An operation of a session failed: until another one is joined, nobody waits for the store.
    pub fn disconnect(&self, session: Option<&Arc<dyn SharedSession>>, error: &SharedStoreError) {
        (self.on_error)();
        debug!("failed to {error}");
        *lock(&self.last_error) = Some(Arc::clone(&error.0));
        self.connection.send_if_modified(|link| {
            let over = match (&*link, session) {
                (StoreConnection::Connected(now), Some(failed)) => Arc::ptr_eq(now, failed),
                (StoreConnection::Connected(_), None) => true,
                (StoreConnection::Connecting, _) => session.is_none(),
                (StoreConnection::Disconnected, _) => false,
            };
            if over {
                *link = StoreConnection::Disconnected;
            }
            over
        });
    }

    /// Plans as one of several that each ask by themselves, until another session is joined.
    pub fn set_standalone(&self) {
        self.is_standalone.store(true, Relaxed);
    }

    /// Waits until a session has been given up; gives why.
    pub async fn wait_until_disconnected(
        &self,
        session: &Arc<dyn SharedSession>,
    ) -> SharedStoreError {
        let mut link = self.connection.subscribe();
        let over = |link: &StoreConnection| !matches!(link, StoreConnection::Connected(now) if Arc::ptr_eq(now, session));
        // The sender lives as long as this replica.
        let _ = link.wait_for(over).await;
        SharedStoreError(lock(&self.last_error).clone().unwrap_or_default())
    }

    /// Takes in what a sign of life, given between `before` and `after`, was answered. `settled` once the session is old
    /// enough for all others to have been seen: before, fewer than were known are not believed.
    pub fn on_heartbeat(&self, beat: HeartbeatReply, before: Time, after: Time, settled: bool) {
        let known = self.replica_count.load(Relaxed);
        self.replica_count.store(
            if settled {
                beat.live_replicas
            } else {
                beat.live_replicas.max(known)
            },
            Relaxed,
        );
        let mut skew = lock(&self.clock_offset);
        let measured = skew.with_measurement(before, after, beat.store_time_us);
        if measured != *skew {
            warn!(
                ahead_ms = measured.to_store_ms(),
                "the clock of the store that replicas share differs from this machine's; instants are translated"
            );
            *skew = measured;
        }
    }

    /// What a letter tells, on this replica's clock. None, and the operator is told, if it cannot be used.
    pub fn decode_state(
        &self,
        identity: SourceIdentity,
        letter: &StoredState,
    ) -> Option<SourceRecord> {
        let read = letter
            .decode_record()
            .and_then(|saved| self.to_local_state(saved));
        let mut unread = lock(&self.unreadable_sources);
        match read {
            Ok(saved) => {
                unread.remove(&identity);
                Some(saved)
            }
            Err(error) => {
                if unread.insert(identity) {
                    let identity = identity.to_string();
                    warn!(
                        identity,
                        "what another replica shared of a source is not used: {error}"
                    );
                }
                None
            }
        }
    }

    /// What another replica knows was taken in; `token` is whose attempt told it.
    pub fn record_notification(&self, identity: SourceIdentity, token: &str, at: Option<Time>) {
        if at.is_some() {
            self.remote_attempts.fetch_add(1, Relaxed);
        }
        self.notifier.notify_waiters(identity, token, at);
    }

    /// Tells the others what is known of a source after an attempt, and gives back the lease if there was one.
    pub async fn report_and_release(
        &self,
        ticket: Option<LeaseHandle>,
        saved: SourceRecord,
        terms: ShareParams,
    ) {
        let Some(session) = self.wait_for_session().await else {
            return;
        };
        let Some(landing) = self.build_release(ticket.as_ref(), saved, terms) else {
            return;
        };
        match session.publish_state(&landing).await {
            Ok(held) => {
                if ticket.is_some_and(|ticket| ticket.is_confirmed) && !held {
                    self.leases_lost.fetch_add(1, Relaxed);
                    debug!(identity = %landing.identity, "a lease was gone when its attempt ended");
                }
            }
            Err(error) => self.disconnect(Some(&session), &error),
        }
    }

    /// Gives back a lease that led to nothing.
    pub async fn release_lease(&self, ticket: LeaseHandle) {
        let Some(session) = self.wait_for_session().await else {
            return;
        };
        if let Err(error) = session.release_lease(ticket.identity, &ticket.token).await {
            self.disconnect(Some(&session), &error);
        }
    }

    /// The session, once it is known whether there is one.
    pub(crate) async fn wait_for_session(&self) -> Option<Arc<dyn SharedSession>> {
        let mut link = self.connection.subscribe();
        let known = timeout(
            FIRST_CONNECT_WAIT,
            link.wait_for(|link| !matches!(link, StoreConnection::Connecting)),
        )
        .await;
        match &*known.ok()?.ok()? {
            StoreConnection::Connected(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// A token for one attempt.
    pub(crate) fn create_token(&self) -> String {
        format!("{}-{}", self.name, self.token_counter.fetch_add(1, Relaxed))
    }

    /// An instant on the store's clock.
    pub(crate) fn to_store_time(&self, time: Time) -> Time {
        Time::from_millis(
            time.as_millis()
                .saturating_add(lock(&self.clock_offset).to_store_ms()),
        )
    }

    fn build_release(
        &self,
        ticket: Option<&LeaseHandle>,
        saved: SourceRecord,
        terms: ShareParams,
    ) -> Option<LeaseRelease> {
        let identity = saved.identity;
        let shift = lock(&self.clock_offset).to_store_ms();
        // Nothing is in the future of whoever tells it, so that nothing is cut off here.
        let saved = saved.shift_clock(shift, Time::from_millis(i64::MAX));
        let stamp = saved.history.last_attempt?;
        let letter = encode_stored_state(&saved).unwrap_or_default();
        if letter.is_empty() {
            warn!(
                source = saved.name.as_str(),
                "too large to be shared with other replicas"
            );
        }
        let token = ticket.map_or_else(|| self.create_token(), |ticket| ticket.token.clone());
        let ShareParams {
            min_interval,
            retention: keep,
        } = terms;
        Some(LeaseRelease {
            identity,
            token,
            started_at: stamp,
            encoded_state: letter,
            min_interval,
            state_ttl: keep,
        })
    }

    /// What a letter tells, moved onto this replica's clock, unless it claims to come from the future.
    fn to_local_state(&self, saved: SourceRecord) -> Result<SourceRecord, StoredStateError> {
        let shift = lock(&self.clock_offset).to_local_ms();
        let latest = self.clock.now().plus(MAX_FUTURE_OFFSET);
        let stamp = saved
            .history
            .last_attempt
            .map(|at| Time::from_millis(at.as_millis().saturating_add(shift)));
        if stamp.is_some_and(|stamp| stamp > latest) {
            return Err(StoredStateError::FromFuture);
        }
        Ok(saved.shift_clock(shift, latest))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
