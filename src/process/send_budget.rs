//! The memory of what is on its way to clients.
//!
//! A client that does not read keeps the bytes of its response alive, and the kernel's buffers of its
//! socket. Without a common limit, a few hundred such clients would end a service in a small container.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::Notify;

use super::memory_limit::container_memory_limit;

/// The budget without a container's limit, in bytes.
const DEFAULT_BYTES: u64 = 64 << 20;

/// The part of a container's limit that the budget is, and at least this, in bytes.
const CONTAINER_PART: u64 = 8;
const MIN_BYTES: u64 = 16 << 20;

/// Counts the bytes on their way to clients. Exceeding the limit fails nothing by itself: the serving
/// threads close the connections that have waited longest for their client.
#[derive(Debug)]
pub struct SendBudget {
    limit: usize,
    used: AtomicUsize,
    /// The part of `used` that responses take.
    responses: AtomicUsize,
    /// Notified at each charge that leaves the budget exceeded.
    excess: Notify,
    /// Notified when there is room for another response again.
    room: Notify,
}

/// Bytes counted in a budget until it is dropped.
#[derive(Debug)]
pub struct SendCharge {
    budget: Arc<SendBudget>,
    bytes: usize,
}

/// A part of a response, counted in a budget until the last clone of its [`Bytes`] is dropped.
struct CountedBytes<T> {
    bytes: T,
    charge: SendCharge,
}

impl SendBudget {
    /// Returns a budget of `limit` bytes, or of an eighth of the container's memory limit.
    pub fn new(limit: Option<u64>) -> Arc<Self> {
        let limit = limit.unwrap_or_else(|| default_limit(container_memory_limit()));
        Arc::new(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            used: AtomicUsize::new(0),
            responses: AtomicUsize::new(0),
            excess: Notify::new(),
            room: Notify::new(),
        })
    }

    /// Counts `bytes` until the result is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> SendCharge {
        self.used.fetch_add(bytes, Relaxed);
        if self.is_exceeded() {
            self.excess.notify_waiters();
        }
        SendCharge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Returns `bytes` of a response, counted until the last clone is dropped.
    pub fn share(self: &Arc<Self>, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        let length = bytes.as_ref().len();
        // Before the charge, which notifies of either excess.
        self.responses.fetch_add(length, Relaxed);
        let charge = self.charge(length);
        Bytes::from_owner(CountedBytes { bytes, charge })
    }

    /// Returns whether more bytes are counted than the limit allows, or those of responses have no room.
    pub fn is_exceeded(&self) -> bool {
        self.used.load(Relaxed) > self.limit || !self.has_room()
    }

    /// Returns whether twice as many bytes are counted as the limit allows.
    pub fn is_far_exceeded(&self) -> bool {
        self.used.load(Relaxed) / 2 > self.limit
    }

    fn has_room(&self) -> bool {
        self.responses.load(Relaxed) <= self.response_limit()
    }

    fn response_limit(&self) -> usize {
        self.limit / 4 * 3
    }

    /// Waits until responses take at most three quarters of the budget. To be called before a response is
    /// made that other requests do not share: closing the connections that wait takes time.
    pub async fn wait_for_room(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            // Before the check, so that no notification between it and the wait is lost.
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// Waits for the next charge that leaves the budget exceeded.
    pub async fn wait_for_excess(&self) {
        self.excess.notified().await;
    }
}

impl Drop for SendCharge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}

impl<T> Drop for CountedBytes<T> {
    fn drop(&mut self) {
        let budget = &self.charge.budget;
        let before = budget.responses.fetch_sub(self.charge.bytes, Relaxed);
        if before > budget.response_limit() && budget.has_room() {
            budget.room.notify_waiters();
        }
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for CountedBytes<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

fn default_limit(container_limit: Option<u64>) -> u64 {
    container_limit.map_or(DEFAULT_BYTES, |limit| {
        (limit / CONTAINER_PART).max(MIN_BYTES)
    })
}

#[cfg(test)]
mod tests {
    use super::super::work_queue::tests::is_pending;
    use super::*;

    #[test]
    fn bytes_count_until_last_clone() {
        let budget = SendBudget::new(Some(16));
        let first = budget.share(vec![0; 8]);
        let clone = first.slice(2..4);
        let charge = budget.charge(12);
        assert!(budget.is_exceeded());
        drop(first);
        assert!(budget.is_exceeded() && !budget.is_far_exceeded());
        let far = budget.charge(14);
        assert!(budget.is_far_exceeded());
        drop(far);
        drop(clone);
        assert!(!budget.is_exceeded());
        drop(charge);
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn excess_wakes_a_waiter() {
        let budget = SendBudget::new(Some(10));
        let mut wait = Box::pin(budget.wait_for_excess());
        let _small = budget.charge(10);
        assert!(is_pending(&mut wait));
        let _excess = budget.charge(1);
        wait.await;
    }

    #[tokio::test]
    async fn response_waits_for_room() {
        let budget = SendBudget::new(Some(16));
        let _state = budget.charge(16);
        budget.wait_for_room().await;
        let small = budget.share(vec![0; 8]);
        let large = budget.share(vec![0; 5]);
        let mut wait = Box::pin(budget.wait_for_room());
        assert!(is_pending(&mut wait));
        drop(large);
        wait.await;
        drop(small);
    }

    #[test]
    fn default_is_a_part_of_the_container() {
        assert_eq!(default_limit(None), 64 << 20);
        assert_eq!(default_limit(Some(64 << 20)), 16 << 20);
        assert_eq!(default_limit(Some(512 << 20)), 64 << 20);
    }
}
