//! A connection's share of the connection limit.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::OwnedSemaphorePermit;

use crate::metrics::ThreadCounters;

/// Counts one connection in its worker's counters and against the connection limit until it is
/// dropped.
pub(super) struct ConnectionPermit {
    counters: Arc<ThreadCounters>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// Counts a connection in `counters`.
    pub(super) fn new(counters: Arc<ThreadCounters>, permit: OwnedSemaphorePermit) -> Self {
        counters.open_connections.fetch_add(1, Relaxed);
        Self {
            counters,
            _permit: permit,
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counters.open_connections.fetch_sub(1, Relaxed);
    }
}
