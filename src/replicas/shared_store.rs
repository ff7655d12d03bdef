//! The store that replicas share: what it can do, and what they write into it.
//!
//! Two stand behind this port: Redis, and a simulated store under paused time in the tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::domain::{SourceIdentity, Time};

use super::codec::{StoredStateError, decode_stored_state};
use super::protocol::{Notification, SourceLease};

/// What every operation gives, in its own time.
pub type StoreFuture<'p, T> =
    Pin<Box<dyn Future<Output = Result<T, SharedStoreError>> + Send + 'p>>;

/// A store that can be reached, or not.
pub trait SharedStore: Send + Sync {
    /// Connects, proves that it can be written to, and listens to the notices. Every step is limited; the whole takes
    /// less than a second.
    fn open_session(&self) -> StoreFuture<'_, OpenedSession>;
}

/// A connection to the store. Every operation is limited in time; after one that failed nothing more is to be expected
/// of this session.
pub trait SharedSession: Send + Sync {
    /// Takes the lease of a source, unless somebody holds it or has told more than is known.
    fn acquire_lease<'s>(&'s self, wish: &'s AcquireRequest) -> StoreFuture<'s, AcquireResponse>;
    /// Writes what is known of a source and gives the lease back; true if it was still held.
    fn publish_state<'s>(&'s self, landing: &'s LeaseRelease) -> StoreFuture<'s, bool>;
    /// Gives a lease back that led to nothing.
    fn release_lease<'s>(&'s self, identity: SourceIdentity, token: &'s str)
    -> StoreFuture<'s, ()>;
    /// The letters of these sources, in this order.
    fn read_states<'s>(
        &'s self,
        identities: &'s [SourceIdentity],
    ) -> StoreFuture<'s, Vec<Option<StoredState>>>;
    /// Says that this replica lives.
    fn send_heartbeat<'s>(&'s self, replica: &'s str) -> StoreFuture<'s, HeartbeatReply>;
}

/// A new session.
pub struct OpenedSession {
    /// The session.
    pub session: Arc<dyn SharedSession>,
    /// What is told to all replicas from now on; ends with the connection.
    pub notifications: UnboundedReceiver<Notification>,
}

/// A wish for a lease.
#[derive(Debug, Clone)]
pub struct AcquireRequest {
    /// Of which source.
    pub identity: SourceIdentity,
    /// Unique to this attempt.
    pub token: String,
    /// How long the lease lasts at most.
    pub lease_duration: Duration,
    /// When the newest attempt that is known of began, on the store's clock.
    pub known_attempt: Option<Time>,
    /// Whether to take a letter about a newer one rather than the lease.
    pub prefers_newer_state: bool,
}

/// The answer to it.
#[derive(Debug)]
pub enum AcquireResponse {
    /// The lease is held from now on.
    Granted,
    /// Somebody else holds it.
    Held {
        /// What they wrote.
        lease: SourceLease,
        /// How long it lasts.
        remaining: Duration,
        /// What the store holds, if that is newer than what is known.
        newer_state: Option<StoredState>,
    },
    /// The store holds something newer than what is known; nobody holds the lease.
    NewerState(StoredState),
}

/// A value of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredState {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// So many bytes that they were not fetched.
    Oversize(u64),
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct LeaseRelease {
    /// Of which source.
    pub identity: SourceIdentity,
    /// Whose attempt it was.
    pub token: String,
    /// When it began, on the store's clock.
    pub started_at: Time,
    /// What is known now; empty if it is too large to tell.
    pub encoded_state: Vec<u8>,
    /// How long the providers are to rest from its beginning.
    pub min_interval: Duration,
    /// For how long somebody may still want the letter.
    pub state_ttl: Duration,
}

/// The answer to a sign of life.
#[derive(Debug, Clone, Copy)]
pub struct HeartbeatReply {
    /// Now on the store's clock, in microseconds since the epoch.
    pub store_time_us: i64,
    /// How many replicas gave a sign of life lately.
    pub live_replicas: u32,
}

/// Why the store did not do what it was asked to; fits after "failed to". Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SharedStoreError(pub Arc<str>);

impl StoredState {
    /// What it tells.
    pub fn decode_record(&self) -> Result<crate::domain::SourceRecord, StoredStateError> {
        match self {
            Self::Bytes(bytes) => decode_stored_state(bytes),
            Self::Oversize(bytes) => Err(StoredStateError::Oversize(*bytes)),
        }
    }
}
