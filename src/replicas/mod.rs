//! Replicas that share attempts and readings through Redis.
//!
//! [`LocalReplica`] implements the coordinator that flights use: a lease before an attempt, the
//! published state after it. [`ReplicaSync`] is the background task that keeps the session with the
//! shared store open and merges the states of other replicas into the cache. [`SharedStore`] is the
//! interface of the store; [`RedisStore`] implements it, and tests simulate it.
//!
//! No request and no flight waits for a store that is known to be unreachable.

mod clock_offset;
mod codec;
mod lease;
mod notifications;
mod protocol;
mod redis_connection;
mod redis_error;
mod redis_scripts;
mod redis_session;
mod redis_store;
mod replica;
mod shared_store;
mod status;
mod sync;

pub use protocol::{
    LeasePhase, MAX_WAITING_NOTIFICATIONS, Notification, REPLICA_EXPIRY, SourceLease, WaitDecision,
};
pub use redis_store::RedisStore;
pub use replica::LocalReplica;
pub use shared_store::{
    AcquireRequest, AcquireResponse, HeartbeatReply, LeaseRelease, OpenedSession, SharedSession,
    SharedStore, SharedStoreError, StoreFuture, StoredState,
};
pub use status::{ReplicaMode, ReplicaStatus};
pub use sync::ReplicaSync;
