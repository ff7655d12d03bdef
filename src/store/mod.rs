//! Floor 2: where readings survive and are shared. What is kept, one versioned format for it, the file behind it, and
//! the store that replicas share.
//!
//! Imports `domain`, `clock` and `render` (how instants are written). A store is one more publisher and one more subscriber of
//! the cell: what it gives back is merged in, newest wins, and a store that fails never fails a request. URLs, headers
//! and secrets are not part of what is kept.

mod file;
mod format;
mod redis;
pub mod shared;
mod wire;

pub use file::{Loaded, StateFile, StoreError};
pub use format::{FormatError, decode, encode};
pub use redis::RedisStore;

use crate::domain::{Moment, Saved};

/// What is kept, and when it was.
#[derive(Debug, Clone)]
pub struct State {
    /// When it was taken, on every clock of the machine.
    pub taken: Moment,
    /// What was known of each source.
    pub sources: Vec<Saved>,
}

impl State {
    /// What was known of each source, its instants moved onto the clock of the run that reads it at `now`.
    pub fn seen_from(self, now: &Moment) -> Vec<Saved> {
        let shift = self.taken.shift_to(now);
        self.sources
            .into_iter()
            .map(|saved| saved.moved(shift, now.at))
            .collect()
    }
}
