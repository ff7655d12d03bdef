//! The counter of failed operations of a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the failed operations of one store: the state file or the store that replicas share.
/// Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct StoreErrorCounter(Arc<AtomicU64>);

impl StoreErrorCounter {
    /// Counts one failed operation.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Returns the number of failed operations since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
