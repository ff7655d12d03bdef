//! The memory that the readings of all sources may take together in a container.
//!
//! Every reading stands in the snapshot and in each rendering of it. Without a common limit, some
//! dozens of large ones would end a service in a small container.

use crate::domain::{Code, Failure, JsonData, Name, Snapshot, SourceRecord};
use crate::process::container_memory_limit;
use crate::text::{UnitStyle, format_size};

/// The part of a container's limit that readings may take, and at least this, in bytes. A summary of all
/// sources takes as much again for each of its renderings.
const CONTAINER_PART: u64 = 16;
const MIN_BYTES: u64 = 2 << 20;

/// A reading of at most this size, in bytes, is never refused.
const SMALL_BYTES: usize = 16 << 10;

/// Refuses large readings for which there is no memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadingMemory {
    /// Bytes of all readings. `None` without a container's limit.
    limit: Option<u64>,
}

impl ReadingMemory {
    /// Returns a part of the container's limit.
    pub(super) fn of_container() -> Self {
        let limit = container_memory_limit();
        Self {
            limit: limit.map(|limit| (limit / CONTAINER_PART).max(MIN_BYTES)),
        }
    }

    /// Checks whether there is memory for the data of `source` beside the readings of the other sources.
    ///
    /// # Errors
    /// The failure of the source.
    pub(super) fn check(
        &self,
        snapshot: &Snapshot,
        source: &Name,
        data: &JsonData,
    ) -> Result<(), Failure> {
        let others = || {
            let states = snapshot.source_states().iter();
            states
                .filter(|state| state.source.name != *source)
                .filter_map(|state| Some(state.reading.as_ref()?.data.as_json().len() as u64))
                .sum()
        };
        self.check_beside(others, data)
    }

    /// Removes the readings for which there is no memory from records that are to be restored.
    pub(super) fn retain_fitting(&self, records: &mut [SourceRecord]) {
        let mut total = 0;
        for record in records {
            let Some(reading) = &record.reading else {
                continue;
            };
            if self.check_beside(|| total, &reading.data).is_ok() {
                total += reading.data.as_json().len() as u64;
            } else {
                record.reading = None;
            }
        }
    }

    fn check_beside(&self, others: impl FnOnce() -> u64, data: &JsonData) -> Result<(), Failure> {
        let bytes = data.as_json().len();
        let Some(limit) = self.limit.filter(|_| bytes > SMALL_BYTES) else {
            return Ok(());
        };
        if others() + bytes as u64 <= limit {
            return Ok(());
        }
        let size = format_size(limit, UnitStyle::Message);
        Err(Failure::new(
            Code::ExtractFailed,
            format!(
                "no memory for {bytes} bytes of data: the container's memory limit leaves {size} to the \
                 readings of all sources; a filter that keeps less helps"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_of(bytes: usize) -> JsonData {
        JsonData::from_checked("1".repeat(bytes))
    }

    #[test]
    fn large_readings_share_a_limit() {
        let memory = ReadingMemory {
            limit: Some(1 << 20),
        };
        let fits = |others, bytes| memory.check_beside(|| others, &data_of(bytes)).is_ok();
        assert!(fits(0, 1 << 20));
        assert!(!fits(0, (1 << 20) + 1));
        assert!(!fits(1 << 20, SMALL_BYTES + 1));
        // However many there are: most readings are small, and must not depend on large ones.
        assert!(fits(1 << 30, SMALL_BYTES));
        let unlimited = ReadingMemory { limit: None };
        assert!(
            unlimited
                .check_beside(|| 1 << 40, &data_of(1 << 20))
                .is_ok()
        );
        let failure = memory
            .check_beside(|| 1 << 20, &data_of(20_000))
            .unwrap_err();
        assert_eq!(
            failure.to_string(),
            "no memory for 20000 bytes of data: the container's memory limit leaves 1 MiB to the readings \
             of all sources; a filter that keeps less helps (extract_failed)"
        );
    }
}
