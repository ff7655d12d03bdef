//! The interface of the store that replicas share. Implemented by Redis, and by a simulated store
//! in the tests under paused time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use crate::domain::{SourceIdentity, SourceRecord, Time};

use super::codec::{StoredStateError, decode_stored_state};
use super::protocol::{Notification, SourceLease};

/// The future of an operation of the store.
pub type StoreFuture<'s, T> =
    Pin<Box<dyn Future<Output = Result<T, SharedStoreError>> + Send + 's>>;

/// A store that may be unreachable.
pub trait SharedStore: Send + Sync {
    /// Connects, subscribes to the notifications and verifies that the store accepts writes. Each
    /// step has a time limit; all together take less than a second.
    fn open_session(&self) -> StoreFuture<'_, OpenedSession>;
}

/// A session with the store. Each operation has a time limit. After a failed operation the session
/// is used again only if a heartbeat succeeds.
pub trait SharedSession: Send + Sync {
    /// Acquires the lease of a source, unless another attempt holds it or the store has a newer
    /// state that the request prefers.
    fn acquire_lease<'s>(&'s self, request: &'s AcquireRequest)
    -> StoreFuture<'s, AcquireResponse>;
    /// Writes the state of a source and releases the lease; returns whether it was still held.
    fn publish_state<'s>(&'s self, release: &'s LeaseRelease) -> StoreFuture<'s, bool>;
    /// Releases the lease of an attempt without an outcome.
    fn release_lease<'s>(&'s self, identity: SourceIdentity, token: &'s str)
    -> StoreFuture<'s, ()>;
    /// Returns the states of the first of these sources, in this order: at least one, and as many as
    /// fit into one reply.
    fn read_states<'s>(
        &'s self,
        identities: &'s [SourceIdentity],
    ) -> StoreFuture<'s, Vec<Option<StoredState>>>;
    /// Records that the replica of this name is alive.
    fn send_heartbeat<'s>(&'s self, replica: &'s str) -> StoreFuture<'s, HeartbeatReply>;
}

/// A new session.
pub struct OpenedSession {
    /// The session.
    pub session: Arc<dyn SharedSession>,
    /// The notifications to all replicas from now on; closed when the connection ends. One that finds
    /// the channel full is dropped.
    pub notifications: Receiver<Notification>,
}

/// A request for a lease.
#[derive(Debug, Clone)]
pub struct AcquireRequest {
    /// The source.
    pub identity: SourceIdentity,
    /// Identifies the attempt.
    pub token: String,
    /// How long the lease lasts at most.
    pub lease_duration: Duration,
    /// When the newest attempt known to the replica began, on the store's clock.
    pub known_attempt: Option<Time>,
    /// Whether a newer state is to be returned instead of the lease.
    pub prefers_newer_state: bool,
}

/// The response to an [`AcquireRequest`].
#[derive(Debug)]
pub enum AcquireResponse {
    /// The request holds the lease from now on.
    Granted,
    /// Another attempt holds the lease.
    Held {
        /// The lease.
        lease: SourceLease,
        /// The time until it expires.
        remaining: Duration,
        /// The stored state, if it is newer than the known attempt.
        newer_state: Option<StoredState>,
    },
    /// No attempt holds the lease, and the stored state is newer than the known attempt.
    NewerState(StoredState),
}

/// A stored state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredState {
    /// The bytes.
    Bytes(Vec<u8>),
    /// The size of a state that is too large to be read.
    Oversize(u64),
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct LeaseRelease {
    /// The source.
    pub identity: SourceIdentity,
    /// Identifies the attempt.
    pub token: String,
    /// When the attempt began, on the store's clock.
    pub started_at: Time,
    /// The new state; empty if it is too large.
    pub encoded_state: Vec<u8>,
    /// The least time between the start of this attempt and the next one.
    pub min_interval: Duration,
    /// How long the state is kept.
    pub state_ttl: Duration,
}

/// The reply to a heartbeat.
#[derive(Debug, Clone, Copy)]
pub struct HeartbeatReply {
    /// The time on the store's clock, in microseconds since the epoch.
    pub store_time_us: i64,
    /// The number of replicas with a recent heartbeat.
    pub live_replicas: u32,
}

/// Why an operation of the store failed: the operation, the store and the reason. Fits after "failed
/// to". Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SharedStoreError(pub Arc<str>);

impl StoredState {
    /// Returns the state of the source `identity`, its times on the store's clock.
    pub(super) fn decode_record(
        &self,
        identity: SourceIdentity,
    ) -> Result<SourceRecord, StoredStateError> {
        match self {
            Self::Bytes(bytes) => decode_stored_state(identity, bytes),
            Self::Oversize(bytes) => Err(StoredStateError::Oversize(*bytes)),
        }
    }
}
