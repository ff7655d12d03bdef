//! The memory of what is on its way to clients.
//!
//! A client that does not read keeps the bytes of its response alive, and the kernel's buffers of its
//! socket. Without a common limit, a few hundred such clients would end a service in a small container.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
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
    /// Notified at each charge that leaves the budget exceeded.
    excess: Notify,
    /// Notified when bytes are no longer counted.
    release: Condvar,
    release_lock: Mutex<()>,
}

/// Bytes counted in a budget until it is dropped.
#[derive(Debug)]
pub struct SendCharge {
    budget: Arc<SendBudget>,
    bytes: usize,
}

/// Bytes that are counted in a budget until the last clone of their [`Bytes`] is dropped.
struct CountedBytes<T> {
    bytes: T,
    _charge: SendCharge,
}

impl SendBudget {
    /// Returns a budget of `limit` bytes, or of an eighth of the container's memory limit.
    pub fn new(limit: Option<u64>) -> Arc<Self> {
        let limit = limit.unwrap_or_else(|| default_limit(container_memory_limit()));
        Arc::new(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            used: AtomicUsize::new(0),
            excess: Notify::new(),
            release: Condvar::new(),
            release_lock: Mutex::new(()),
        })
    }

    /// Returns the limit, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Counts `bytes` until the result is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> SendCharge {
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        if used > self.limit {
            self.excess.notify_waiters();
        }
        SendCharge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Returns `bytes`, counted until the last clone is dropped.
    pub fn share(self: &Arc<Self>, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        let charge = self.charge(bytes.as_ref().len());
        Bytes::from_owner(CountedBytes {
            bytes,
            _charge: charge,
        })
    }

    /// Returns whether more bytes are counted than the limit allows.
    pub fn is_exceeded(&self) -> bool {
        self.used.load(Relaxed) > self.limit
    }

    /// Blocks until there is room for `bytes`, at most for `limit`: clients that read make room, and those that do
    /// not are closed when the budget is exceeded.
    pub fn wait_for_room(&self, bytes: usize, limit: Duration) {
        let mut guard = self.release_lock.lock();
        let has_no_room = |(): &mut ()| self.used.load(Relaxed).saturating_add(bytes) > self.limit;
        // A release between the look and the wait is missed; then the limit ends the wait.
        self.release.wait_while_for(&mut guard, has_no_room, limit);
    }

    /// Waits for the next charge that leaves the budget exceeded.
    pub async fn wait_for_excess(&self) {
        self.excess.notified().await;
    }
}

impl Drop for SendCharge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
        // Costs one load while nobody waits.
        self.budget.release.notify_all();
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
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[test]
    fn bytes_count_until_last_clone() {
        let budget = SendBudget::new(Some(10));
        let first = budget.share(vec![0; 8]);
        let clone = first.slice(2..4);
        let charge = budget.charge(4);
        assert!(budget.is_exceeded());
        drop(first);
        assert!(budget.is_exceeded());
        drop(clone);
        assert!(!budget.is_exceeded());
        drop(charge);
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn excess_wakes_a_waiter() {
        let budget = SendBudget::new(Some(10));
        let mut wait = pin!(budget.wait_for_excess());
        let _small = budget.charge(10);
        let first_poll = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
        assert!(first_poll.is_pending());
        let _excess = budget.charge(1);
        wait.await;
    }

    #[test]
    fn default_is_a_part_of_the_container() {
        assert_eq!(default_limit(None), 64 << 20);
        assert_eq!(default_limit(Some(64 << 20)), 16 << 20);
        assert_eq!(default_limit(Some(512 << 20)), 64 << 20);
    }

    #[test]
    fn room_is_waited_for() {
        let budget = SendBudget::new(Some(100));
        let held = budget.share(vec![0; 60]);
        // Bounded: a client that does not read must not stop the others.
        budget.wait_for_room(50, Duration::from_millis(1));
        let (waiting, limit) = (Arc::clone(&budget), Duration::from_secs(60));
        let waiter = std::thread::spawn(move || {
            // In parts, since a single release can be missed.
            (0..60_000).find(|_| {
                waiting.wait_for_room(50, limit / 60_000);
                waiting.used.load(Relaxed) == 0
            })
        });
        drop(held);
        assert!(waiter.join().unwrap().is_some());
        budget.wait_for_room(100, limit);
    }
}
