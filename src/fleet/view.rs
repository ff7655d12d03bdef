//! How this replica stands to the others, for whoever is on call.

use std::sync::Arc;

/// Whether it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The store has not been reached yet, nor given up.
    Joining,
    /// Calls and readings are shared.
    Sharing,
    /// The store cannot be used; this replica goes on alone.
    Alone,
}

/// What is shown of it.
#[derive(Debug, Clone)]
pub struct View {
    /// Whether it shares.
    pub role: Role,
    /// How many replicas the store saw last, this one included; 0 if it was never reached.
    pub replicas: u32,
    /// Leases that this replica took since its start.
    pub taken: u64,
    /// Those that were gone when their attempt ended.
    pub lost: u64,
    /// Attempts of others whose outcome was taken in.
    pub heard: u64,
    /// By how many milliseconds the store's clock is ahead of this replica's; 0 when they agree.
    pub skew_ms: i64,
    /// Why it does not share.
    pub trouble: Option<Arc<str>>,
}

impl Role {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Sharing => "sharing",
            Self::Alone => "alone",
        }
    }
}
