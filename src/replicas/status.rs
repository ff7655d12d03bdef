//! How this replica stands to the others, for whoever is on call.

use std::sync::Arc;

/// Whether it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaMode {
    /// The store has not been reached yet, nor given up.
    Connecting,
    /// Calls and readings are shared.
    Sharing,
    /// The store cannot be used; this replica goes on alone.
    Disconnected,
}

/// What is shown of it.
#[derive(Debug, Clone)]
pub struct ReplicaStatus {
    /// Whether it shares.
    pub mode: ReplicaMode,
    /// How many replicas the store saw last, this one included; 0 if it was never reached.
    pub replica_count: u32,
    /// Leases that this replica took since its start.
    pub leases_acquired: u64,
    /// Those that were gone when their attempt ended.
    pub leases_lost: u64,
    /// Attempts of others whose outcome was taken in.
    pub remote_attempts: u64,
    /// By how many milliseconds the store's clock is ahead of this replica's; 0 when they agree.
    pub clock_offset_ms: i64,
    /// Why it does not share.
    pub last_error: Option<Arc<str>>,
}

impl ReplicaMode {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "joining",
            Self::Sharing => "sharing",
            Self::Disconnected => "alone",
        }
    }
}
