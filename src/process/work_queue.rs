//! A queue of CPU work that is too long for a serving thread.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Runs pieces of work one after the other, on the blocking threads of a runtime, whose priority
/// they have.
#[derive(Debug, Clone)]
pub struct WorkQueue {
    runtime: Handle,
    /// One permit: the piece that runs. Fair, so pieces run in the order of their arrival.
    turn: Arc<Semaphore>,
    /// One permit for each piece that waits or runs.
    places: Arc<Semaphore>,
}

/// The queue is full, or its runtime is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkQueueFull;

impl WorkQueue {
    /// Returns a queue in which at most `places` pieces wait or run.
    pub fn new(runtime: Handle, places: usize) -> Self {
        Self {
            runtime,
            turn: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Runs `work` and returns its result. Work that waits is dropped with the future; work that runs
    /// ends, and its result is dropped. Panics if `work` does.
    ///
    /// # Errors
    /// [`WorkQueueFull`] at once if every place is taken.
    pub async fn run<T, F>(&self, work: F) -> Result<T, WorkQueueFull>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let _place = self.places.try_acquire().map_err(|_| WorkQueueFull)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let task = self.runtime.spawn_blocking(move || {
            // Held by the thread: work whose requester has left still runs.
            let _turn = turn;
            work()
        });
        match task.await {
            Ok(result) => Ok(result),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(WorkQueueFull),
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use tokio::task::JoinSet;

    use super::*;

    /// Polls a future once, without a runtime.
    pub(in crate::process) fn is_pending<T>(
        future: &mut Pin<Box<impl Future<Output = T>>>,
    ) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        future.as_mut().poll(&mut context).is_pending()
    }

    #[tokio::test]
    async fn full_queue_refuses_at_once() {
        let queue = WorkQueue::new(Handle::current(), 2);
        let (release, wait) = mpsc::channel::<()>();
        let mut running = Box::pin(queue.run(move || wait.recv().is_err()));
        assert!(is_pending(&mut running));
        let mut waiting = Box::pin(queue.run(|| 2));
        assert!(is_pending(&mut waiting));
        assert_eq!(queue.run(|| 3).await, Err(WorkQueueFull));
        // A requester that leaves frees its place.
        drop(waiting);
        let mut waiting = Box::pin(queue.run(|| 4));
        assert!(is_pending(&mut waiting));
        drop(release);
        assert_eq!(running.await, Ok(true));
        assert_eq!(waiting.await, Ok(4));
    }

    #[tokio::test]
    async fn panic_reaches_the_requester() {
        let queue = WorkQueue::new(Handle::current(), 1);
        let mut requesters = JoinSet::new();
        let panicking = queue.clone();
        requesters.spawn(async move { panicking.run(|| panic!("a bug")).await });
        let ended: Result<Result<(), _>, _> = requesters.join_next().await.unwrap();
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(queue.run(|| 1).await, Ok(1));
    }
}
