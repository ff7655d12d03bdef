//! Counts and limits the clients of the event stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The part of the connections that streams may have, so that they never use all of them.
const STREAM_PART: usize = 2;

/// Number of clients of the event stream. Clones count the same clients.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamClients(Arc<AtomicUsize>);

/// One client in the count, until it is dropped.
pub(super) struct StreamPermit(Arc<AtomicUsize>);

impl StreamClients {
    /// Clients connected now.
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// A permit for one more client; `None` at the limit.
    pub(super) fn try_acquire_permit(&self, connections: usize) -> Option<StreamPermit> {
        let limit = max_stream_clients(connections);
        // One step, so that two clients cannot take the last place at the same time.
        self.0
            .fetch_update(Relaxed, Relaxed, |count| {
                (count < limit).then_some(count + 1)
            })
            .ok()
            .map(|_| StreamPermit(Arc::clone(&self.0)))
    }
}

/// Maximum number of clients.
pub(super) fn max_stream_clients(connections: usize) -> usize {
    (connections / STREAM_PART).max(1)
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
