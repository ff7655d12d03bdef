//! Several replicas that share readings and calls through Redis.

mod clock_offset;
mod codec;
mod lease;
mod notifications;
mod protocol;
mod redis_address;
mod redis_connection;
mod redis_scripts;
mod redis_session;
mod redis_store;
mod redis_stream;
mod replica;
mod shared_store;
mod status;
mod sync;

pub use lease::{LeaseContext, LeaseDecision, LeaseHandle};
pub use protocol::{Notification, REPLICA_EXPIRY, SourceLease};
pub use redis_store::RedisStore;
pub use replica::{LocalReplica, ReplicaErrorHook, ShareParams};
pub use shared_store::{
    AcquireRequest, AcquireResponse, HeartbeatReply, LeaseRelease, OpenedSession, SharedSession,
    SharedStore, SharedStoreError, StoreFuture, StoredState,
};
pub use status::{ReplicaMode, ReplicaStatus};
pub use sync::ReplicaSync;
