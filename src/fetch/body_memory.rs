//! The memory that all bodies of providers may take together, from their reception to the end of their
//! evaluation.
//!
//! A provider decides how large its body is, and a filter that never ends how long it waits. Without a
//! common limit, a few hundred bodies of 1 MiB would end a service in a small container.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{Code, Failure};
use crate::process::{Deadline, container_memory_limit};
use crate::text::{UnitStyle, format_size};

use super::deadline::{FetchPhase, timeout_failure};

/// Bytes of every body that are not counted. Most bodies are smaller, and wait for nothing.
const FREE_BYTES: u64 = 16 << 10;

/// The memory of all bodies without a container's limit, in bytes.
const DEFAULT_BYTES: u64 = 256 << 20;

/// The part of a container's limit that bodies may take, and at least this, in bytes.
const CONTAINER_PART: u64 = 8;
const MIN_BYTES: u64 = 4 << 20;

/// The part of the memory for bodies whose filter did not end last time: they wait longest for a filter
/// worker, and must not take the memory from the others.
const ENDLESS_PART: u64 = 4;

/// Memory is counted in these units, in bytes.
const UNIT_BYTES: u64 = 1 << 10;

/// The memory of all bodies.
#[derive(Debug)]
pub(super) struct BodyMemory {
    ordinary: MemoryPool,
    endless: MemoryPool,
    /// Whether a container limits it. A larger body can then never be read.
    is_limited: bool,
}

#[derive(Debug, Clone)]
struct MemoryPool {
    units: u32,
    free: Arc<Semaphore>,
}

/// The memory of one body.
#[derive(Debug)]
pub(super) struct BodyReservation {
    pool: MemoryPool,
    /// The largest body that there is memory for.
    limit: Option<u64>,
    is_waiting: AtomicBool,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A body that gives its memory back with its last clone.
struct ReservedBody {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for ReservedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyMemory {
    /// Returns a part of the container's limit, or a constant without one.
    pub(super) fn of_container() -> Self {
        let limit = container_memory_limit();
        let total = limit.map_or(DEFAULT_BYTES, |limit| {
            (limit / CONTAINER_PART).max(MIN_BYTES)
        });
        Self::new(total, limit.is_some())
    }

    fn new(total: u64, is_limited: bool) -> Self {
        let endless = total / ENDLESS_PART;
        Self {
            ordinary: MemoryPool::new(total - endless),
            endless: MemoryPool::new(endless),
            is_limited,
        }
    }

    /// Returns the reservation of a body of at most `max_bytes`, which holds nothing yet.
    pub(super) fn start(&self, max_bytes: u64, is_endless: bool) -> BodyReservation {
        let limit = self.ordinary.bytes();
        // One that the smaller part could not hold may use the other.
        let is_apart = is_endless && max_bytes <= self.endless.bytes();
        BodyReservation {
            pool: if is_apart {
                &self.endless
            } else {
                &self.ordinary
            }
            .clone(),
            limit: Some(limit).filter(|limit| self.is_limited && *limit < max_bytes),
            is_waiting: AtomicBool::new(false),
            permit: Mutex::default(),
        }
    }
}

impl MemoryPool {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        Self {
            units,
            free: Arc::new(Semaphore::new(units as usize)),
        }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT_BYTES
    }

    /// Returns the units of a body, at most all.
    fn units_for(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_or(self.units, |units| units.min(self.units))
    }
}

impl BodyReservation {
    /// The largest body that there is memory for, if `max_body` is larger.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Waits until there is memory for `bytes`, once: a body that held a part while it waits for more
    /// could wait for another one that does the same.
    pub(super) async fn reserve(&self, bytes: u64) {
        if bytes <= FREE_BYTES || self.permit.lock().is_some() {
            return;
        }
        let units = self.pool.units_for(bytes);
        self.is_waiting.store(true, Ordering::Relaxed);
        let permit = Arc::clone(&self.pool.free).acquire_many_owned(units).await;
        self.is_waiting.store(false, Ordering::Relaxed);
        *self.permit.lock() = permit.ok();
    }

    /// Waits until there is memory for a body that has `received` bytes and may have `max_bytes`.
    pub(super) async fn reserve_beyond(&self, received: usize, max_bytes: u64) {
        if received as u64 > FREE_BYTES {
            self.reserve(max_bytes).await;
        }
    }

    /// Returns the body, which keeps the memory that it takes and gives back the rest.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        let Some(mut permit) = self.permit.into_inner() else {
            return bytes;
        };
        let units = self.pool.units_for(bytes.len() as u64) as usize;
        drop(permit.split(permit.num_permits().saturating_sub(units)));
        Bytes::from_owner(ReservedBody {
            bytes,
            _permit: permit,
        })
    }

    /// Returns the failure of a deadline that passed while the body was read, after `received` bytes, or
    /// while it waited for memory.
    pub(super) fn timeout_failure(&self, deadline: Deadline, received: u64) -> Failure {
        if !self.is_waiting.load(Ordering::Relaxed) {
            return FetchPhase::Body.timeout_failure(deadline, false, received);
        }
        let size = format_size(self.pool.bytes(), UnitStyle::Message);
        let activity = format!("waiting for memory for the body: others take the {size} there is");
        timeout_failure(Code::Timeout, deadline, &activity)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    /// 12 KiB of ordinary memory for each of 16, and 64 KiB for endless ones.
    fn small_memory() -> BodyMemory {
        BodyMemory::new(256 << 10, true)
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_wait_for_memory_of_others() {
        let memory = small_memory();
        let first = memory.start(150 << 10, false);
        first.reserve(150 << 10).await;
        let second = memory.start(100 << 10, false);
        assert!(timeout(SOON, second.reserve(100 << 10)).await.is_err());
        let deadline = crate::process::Clock::start().deadline(SOON);
        let failure = second.timeout_failure(deadline, 0).to_string();
        assert_eq!(
            failure,
            "no answer within 1 ms (waiting for memory for the body: others take the 192 KiB there is) \
             (timeout)"
        );
        // What is smaller than was reserved gives the rest back, and all of it with its last clone.
        let body = first.hold(Bytes::from(vec![0; 100 << 10]));
        assert!(timeout(SOON, second.reserve(100 << 10)).await.is_err());
        let clone = body.slice(..10);
        drop(body);
        assert!(timeout(SOON, second.reserve(100 << 10)).await.is_err());
        drop(clone);
        timeout(SOON, second.reserve(100 << 10)).await.unwrap();
        let failure = second.timeout_failure(deadline, 512).to_string();
        assert!(failure.contains("reading the body"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_wait_for_nothing() {
        let memory = small_memory();
        let large = memory.start(1 << 20, false);
        assert_eq!(large.limit(), Some(192 << 10));
        large.reserve(1 << 20).await;
        let small = memory.start(1 << 20, false);
        timeout(SOON, small.reserve(16 << 10)).await.unwrap();
        timeout(SOON, small.reserve_beyond(16 << 10, 1 << 20))
            .await
            .unwrap();
        assert!(
            timeout(SOON, small.reserve_beyond((16 << 10) + 1, 1 << 20))
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn endless_filters_take_their_part_only() {
        let memory = small_memory();
        let endless = memory.start(60 << 10, true);
        endless.reserve(60 << 10).await;
        let other = memory.start(60 << 10, true);
        assert!(timeout(SOON, other.reserve(60 << 10)).await.is_err());
        let ordinary = memory.start(192 << 10, false);
        timeout(SOON, ordinary.reserve(192 << 10)).await.unwrap();
    }
}
