//! What a flight requires of the other replicas: leases before an attempt, publication after it.

use std::pin::Pin;
use std::sync::atomic::AtomicBool;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{Schedule, Source, SourceIdentity, SourceRecord, Time};

/// The future of a coordinator's operation.
pub type CoordinatorFuture<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// Coordinates attempts with other replicas. Implemented by `replicas::LocalReplica`.
///
/// No operation returns an error: a replica that cannot reach the others proceeds without them.
pub trait ReplicaCoordinator: Send + Sync {
    /// Returns the number of replicas that call the providers independently of each other: 1 while
    /// attempts are shared. The pauses of the schedule grow by this factor.
    fn independent_replicas(&self) -> u32;

    /// Requests the lease of a source once.
    fn request_lease<'c>(&'c self, request: LeaseRequest<'c>) -> CoordinatorFuture<'c, LeaseReply>;

    /// Waits until the attempt of another replica ends, at most as long as its lease. Returns when
    /// that attempt began if its outcome is published here, else `None`.
    fn wait_for_outcome<'c>(
        &'c self,
        attempt: &'c RemoteAttempt,
    ) -> CoordinatorFuture<'c, Option<Time>>;

    /// Publishes the state of `source` to the other replicas and releases the lease of the attempt,
    /// if it had one.
    fn publish_and_release<'c>(
        &'c self,
        lease: Option<LeaseHandle>,
        record: SourceRecord,
        source: &'c Source,
    ) -> CoordinatorFuture<'c, ()>;

    /// Releases the lease of an attempt that ended without an outcome.
    fn release_lease(&self, lease: LeaseHandle) -> CoordinatorFuture<'_, ()>;
}

/// A request for the lease of a source.
#[derive(Debug, Clone, Copy)]
pub struct LeaseRequest<'c> {
    /// The source.
    pub identity: SourceIdentity,
    /// The schedule of the source, from which the duration of the lease follows.
    pub schedule: Schedule,
    /// When the newest attempt known here began. A scheduled attempt is superseded by a newer one.
    pub newest_attempt: Option<Time>,
    /// Whether a live request waits for the attempt: then an outcome from before the request is not
    /// enough.
    pub is_urgent: &'c AtomicBool,
}

/// The reply to a [`LeaseRequest`].
#[derive(Debug)]
pub struct LeaseReply {
    /// What to do.
    pub decision: LeaseDecision,
    /// The state that another replica published, if it is newer than the newest attempt known here.
    pub newer_state: Option<SourceRecord>,
}

/// What a flight does after a lease request.
#[derive(Debug)]
pub enum LeaseDecision {
    /// Call the providers, with this lease if the shared store is reachable.
    Proceed(Option<LeaseHandle>),
    /// Do not call them: the newer state replaces a scheduled attempt.
    Superseded,
    /// Wait for the attempt of another replica, then request again if it brings no outcome.
    Wait(RemoteAttempt),
    /// Do not call them before this time: another replica's attempt is too recent.
    HoldBack(Time),
    /// Request again.
    Retry,
}

/// A lease that this replica holds, or may hold.
#[derive(Debug)]
pub struct LeaseHandle {
    /// The source.
    pub identity: SourceIdentity,
    /// Identifies the attempt in the shared store.
    pub token: String,
    /// Whether the store granted the lease. `false`: its reply was lost, and with it the grant, if
    /// there was one.
    pub is_confirmed: bool,
}

/// An attempt in flight at another replica.
#[derive(Debug)]
pub struct RemoteAttempt {
    /// The source.
    pub identity: SourceIdentity,
    /// Identifies the attempt in the shared store.
    pub token: String,
    /// When its lease ends at the latest.
    pub lease_end: Instant,
    /// Cancelled when the next attempt at the source ends at any other replica.
    pub next_end: CancellationToken,
}
