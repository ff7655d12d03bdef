//! Work that is done once for all who wait for the same result at the same time.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::work_queue::{WorkQueue, WorkQueueFull};

/// Work in progress, by key.
pub struct SharedWork<K, T> {
    in_progress: Mutex<HashMap<K, Arc<OnceCell<T>>>>,
}

/// One waiter. Removes the work from the table when it is done, and when the last waiter leaves.
struct WorkWaiter<'w, K: Eq + Hash, T> {
    work: &'w SharedWork<K, T>,
    key: K,
    cell: Arc<OnceCell<T>>,
}

impl<K: Clone + Eq + Hash, T: Clone + Send + 'static> SharedWork<K, T> {
    /// Returns the result of `work`, run in `queue`, or of the work in progress with the same key. If
    /// the requester of that work leaves, another waiter's takes its place.
    ///
    /// # Errors
    /// [`WorkQueueFull`] if the work does not fit into the queue.
    pub async fn run<F>(&self, queue: &WorkQueue, key: K, work: F) -> Result<T, WorkQueueFull>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let cell = Arc::clone(self.in_progress.lock().entry(key.clone()).or_default());
        let waiter = WorkWaiter {
            work: self,
            key,
            cell,
        };
        waiter
            .cell
            .get_or_try_init(|| queue.run(work))
            .await
            .cloned()
    }
}

impl<K: Eq + Hash, T> Drop for WorkWaiter<'_, K, T> {
    fn drop(&mut self) {
        let mut in_progress = self.work.in_progress.lock();
        // A result is for those who asked before it was there; who asks later wants a newer one. The
        // count of a cell changes only under the lock: 2 are the table and this waiter.
        let is_over = self.cell.initialized() || Arc::strong_count(&self.cell) == 2;
        let is_listed = in_progress
            .get(&self.key)
            .is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        if is_over && is_listed {
            in_progress.remove(&self.key);
        }
    }
}

impl<K, T> Default for SharedWork<K, T> {
    fn default() -> Self {
        Self {
            in_progress: Mutex::default(),
        }
    }
}

impl<K, T> fmt::Debug for SharedWork<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWork").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Handle;

    use super::super::work_queue::tests::is_pending;
    use super::*;

    #[tokio::test]
    async fn work_is_shared_while_it_runs() {
        let queue = WorkQueue::new(Handle::current(), 1);
        let work = SharedWork::<&str, u32>::default();
        let (release, wait) = mpsc::channel::<()>();
        let mut first = Box::pin(work.run(&queue, "key", move || {
            let _ = wait.recv();
            1
        }));
        assert!(is_pending(&mut first));
        let mut second = Box::pin(work.run(&queue, "key", || 2));
        assert!(is_pending(&mut second));
        assert_eq!(work.run(&queue, "other", || 3).await, Err(WorkQueueFull));
        drop(release);
        assert_eq!((first.await, second.await), (Ok(1), Ok(1)));
        assert_eq!(work.run(&queue, "key", || 4).await, Ok(4));
        assert!(work.in_progress.lock().is_empty());
    }

    #[tokio::test]
    async fn leaving_waiter_is_replaced() {
        let queue = WorkQueue::new(Handle::current(), 4);
        let work = SharedWork::<&str, u32>::default();
        let (release, wait) = mpsc::channel::<()>();
        let mut running = Box::pin(queue.run(move || wait.recv().is_ok()));
        assert!(is_pending(&mut running));
        let mut first = Box::pin(work.run(&queue, "key", || 1));
        assert!(is_pending(&mut first));
        let mut second = Box::pin(work.run(&queue, "key", || 2));
        assert!(is_pending(&mut second));
        drop(first);
        assert_eq!(work.in_progress.lock().len(), 1);
        release.send(()).unwrap();
        assert_eq!((second.await, running.await), (Ok(2), Ok(true)));
        // Work that nobody waits for any more leaves nothing behind.
        drop(Box::pin(work.run(&queue, "key", || 3)));
        assert!(work.in_progress.lock().is_empty());
    }
}
