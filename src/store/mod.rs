//! Floor 2: where readings survive and are shared. What is kept, one versioned format for it, the file behind it, and
//! the store that replicas share.
//!
//! Imports `domain`, `clock` and `render` (how instants are written). A store is one more publisher and one more subscriber of
//! the cell: what it gives back is merged in, newest wins, and a store that fails never fails a request. URLs, headers
//! and secrets are not part of what is kept.

mod dto;
mod file_format;
mod state_file;

pub(crate) use dto::SourceRecordDto;
pub use file_format::{StateFormatError, decode_state_file, encode_state_file};
pub use state_file::{StateFile, StateFileError};

use crate::domain::{ClockTimestamps, SourceRecord};

/// What is kept, and when it was.
#[derive(Debug, Clone)]
pub struct StateFileContent {
    /// When it was taken, on every clock of the machine.
    pub taken_at: ClockTimestamps,
    /// What was known of each source.
    pub source_records: Vec<SourceRecord>,
}

impl StateFileContent {
    /// What was known of each source, its instants moved onto the clock of the run that reads it at `now`.
    pub fn into_records_at(self, now: &ClockTimestamps) -> Vec<SourceRecord> {
        let shift = self.taken_at.clock_shift_ms(now);
        self.source_records
            .into_iter()
            .map(|saved| saved.shift_clock(shift, now.program_time))
            .collect()
    }
}
