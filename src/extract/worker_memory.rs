//! How much memory a filter worker may use.

use crate::domain::BodyFormat;
use crate::process::container_memory_limit;

/// Memory of one evaluation without a container's limit, in bytes.
const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

/// Memory of one evaluation at least, in bytes: an ordinary answer of 1 MB needs less.
const MIN_MEMORY_BYTES: u64 = 16 << 20;

/// What a container's limit leaves to the service itself: half of it, and at least this, in bytes.
const MIN_SERVICE_BYTES: u64 = 48 << 20;

/// A body may be this large before it gets more memory, in bytes, and then gets [`MEMORY_PER_BODY_BYTE`] for each byte.
const ORDINARY_BODY_BYTES: u64 = 1 << 20;
const MEMORY_PER_BODY_BYTE: u64 = 64;

/// Bytes of JSON that a byte of another format stands for, such as a row of CSV, whose object repeats the names.
const JSON_PER_BODY_BYTE: u64 = 3;

/// The memory of evaluations, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkerMemory {
    /// For an ordinary body.
    ordinary: u64,
    /// For a larger body at most.
    maximum: u64,
}

impl WorkerMemory {
    /// Divides what the container's limit leaves among `workers` processes.
    pub(super) fn new(workers: usize) -> Self {
        let share = container_memory_limit().map(|limit| {
            let service = (limit / 2).max(MIN_SERVICE_BYTES);
            let share = limit.saturating_sub(service) / workers as u64;
            share.max(MIN_MEMORY_BYTES)
        });
        let ordinary = share.map_or(DEFAULT_MEMORY_BYTES, |share| {
            share.min(DEFAULT_MEMORY_BYTES)
        });
        Self {
            ordinary,
            maximum: share.unwrap_or(u64::MAX),
        }
    }

    /// Returns the memory for a body of this format and size.
    pub(super) fn for_body(&self, format: &BodyFormat, body_bytes: usize) -> u64 {
        let json_bytes = match format {
            BodyFormat::Json | BodyFormat::Text => body_bytes as u64,
            _ => (body_bytes as u64).saturating_mul(JSON_PER_BODY_BYTE),
        };
        let beyond = json_bytes.saturating_sub(ORDINARY_BODY_BYTES);
        let wanted = beyond
            .saturating_mul(MEMORY_PER_BODY_BYTE)
            .saturating_add(self.ordinary);
        wanted.min(self.maximum.max(self.ordinary))
    }
}
