//! Counter of failed store operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Number of failed operations of one store. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct StoreErrorCounter(Arc<AtomicU64>);

impl StoreErrorCounter {
    /// Adds one failed operation.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Failed operations since the start.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
