//! The status of this replica, for health pages and metrics.

use std::sync::Arc;

/// The state of the session with the shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaMode {
    /// The first session is being opened.
    Connecting,
    /// Attempts and readings are shared.
    Sharing,
    /// The store is unreachable; this replica calls the providers by itself.
    Disconnected,
}

/// The status of this replica.
#[derive(Debug, Clone)]
pub struct ReplicaStatus {
    /// The state of the session.
    pub mode: ReplicaMode,
    /// The number of replicas at the latest heartbeat, this one included; 0 before the first.
    pub replica_count: u32,
    /// Leases that this replica acquired since its start.
    pub leases_acquired: u64,
    /// Leases that expired before their attempt ended.
    pub leases_lost: u64,
    /// Attempts of other replicas whose outcome was published here.
    pub remote_attempts: u64,
    /// Milliseconds by which the store's clock is ahead of this replica's; 0 when they agree.
    pub clock_offset_ms: i64,
    /// Why nothing is shared, in [`ReplicaMode::Connecting`] and [`ReplicaMode::Disconnected`].
    pub last_error: Option<Arc<str>>,
}

impl ReplicaMode {
    /// Returns the `role` on the health page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "joining",
            Self::Sharing => "sharing",
            Self::Disconnected => "alone",
        }
    }
}
