//! The queue for filter workers: sources whose filters are quick go first, so that hundreds of slow ones do not delay
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Maximum number of later evaluations that get a permit before a waiting one, for each rank behind the first.
const MAX_OVERTAKING: u64 = 1000;

/// An evaluation that has run this long is stopped while others wait, and repeated behind them, as a long one.
const QUICK_TIME: Duration = Duration::from_millis(50);

/// A long evaluation that has run this long is stopped while others wait, and repeated on a slow worker.
const LONG_TIME: Duration = Duration::from_millis(500);

/// How long the evaluations of a source take, by its last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum FilterPace {
    /// It ended soon.
    Quick,
    /// There was none yet.
    #[default]
    Unknown,
    /// It took longer, or was stopped because others waited.
    Long,
    /// It ended its worker: it exhausted the memory or the stack.
    Fatal,
    /// It did not end by its deadline, or took too long even for one of the long ones.
    Endless,
}

impl FilterPace {
    /// Returns the pace after an evaluation that used this processor time, in milliseconds.
    pub(super) fn of_cpu_ms(cpu_ms: u64) -> Self {
        if u128::from(cpu_ms) <= QUICK_TIME.as_millis() {
            Self::Quick
        } else {
            Self::Long
        }
    }

    /// Returns the pace after an evaluation that was stopped at the end of its time.
    pub(super) fn after_stop(self) -> Self {
        match self {
            Self::Quick | Self::Unknown => Self::Long,
            Self::Long | Self::Fatal | Self::Endless => Self::Endless,
        }
    }

    /// Returns how long an evaluation runs before it is stopped if others wait. `None` on a slow worker,
    /// which is for those that have been stopped.
    pub(super) fn time_slice(self) -> Option<Duration> {
        match self {
            Self::Quick | Self::Unknown => Some(QUICK_TIME),
            Self::Long | Self::Fatal => Some(LONG_TIME),
            Self::Endless => None,
        }
    }
}

/// Grants a number of permits, each for one worker, to waiting evaluations in the order of their ranks.
#[derive(Debug)]
pub(super) struct WorkerQueue {
    state: Mutex<QueueState>,
}

#[derive(Debug)]
struct QueueState {
    /// Number of free permits: zero while an evaluation waits.
    free: usize,
    /// The waiting evaluations by turn; a turn is unique by its second part.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<WorkerPermit>>,
    next_number: u64,
}

/// The permit to use one worker, returned when dropped.
#[derive(Debug)]
pub(super) struct WorkerPermit {
    queue: Arc<WorkerQueue>,
}

/// Leaves the queue when it is dropped, also with the future that waits.
struct QueueEntry<'q> {
    queue: &'q WorkerQueue,
    turn: (u64, u64),
}

impl WorkerQueue {
    /// A queue for this number of workers.
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(QueueState {
                free: workers,
                waiting: BTreeMap::new(),
                next_number: 0,
            }),
        })
    }

    /// Whether an evaluation waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Waits for a permit.
    pub(super) async fn acquire(self: &Arc<Self>, pace: FilterPace) -> WorkerPermit {
        let (sender, receiver) = oneshot::channel();
        let entry = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return WorkerPermit {
                    queue: Arc::clone(self),
                };
            }
            let number = state.next_number;
            state.next_number += 1;
            let turn = (number + pace as u64 * MAX_OVERTAKING, number);
            state.waiting.insert(turn, sender);
            QueueEntry { queue: self, turn }
        };
        let permit = receiver.await;
        drop(entry);
        permit.unwrap_or_else(|_| unreachable!("only the entry removes a sender"))
    }
}

impl Drop for WorkerPermit {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        let Some((_, next)) = state.waiting.pop_first() else {
            state.free += 1;
            return;
        };
        drop(state);
        // If the other side has just given up, its permit is dropped here and goes to the next one.
        let _ = next.send(Self {
            queue: Arc::clone(&self.queue),
        });
    }
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        self.queue.state.lock().waiting.remove(&self.turn);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::FilterPace::{Long, Quick, Unknown};
    use super::*;

    /// The order in which evaluations of these paces, which arrive in this order, get the only permit.
    async fn order_of(paces: &[FilterPace]) -> Vec<usize> {
        let queue = WorkerQueue::new(1);
        let held = queue.acquire(Unknown).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let tracker = TaskTracker::new();
        let mut tasks = Vec::new();
        for (number, pace) in paces.iter().copied().enumerate() {
            let (queue, order) = (Arc::clone(&queue), Arc::clone(&order));
            tasks.push(tracker.spawn(async move {
                let _permit = queue.acquire(pace).await;
                order.lock().push(number);
            }));
            tokio::task::yield_now().await;
        }
        assert!(queue.has_waiting());
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!queue.has_waiting());
        assert_eq!(queue.state.lock().free, 1);
        Arc::into_inner(order).unwrap().into_inner()
    }

    #[tokio::test]
    async fn quick_filters_go_first() {
        let order = order_of(&[Long, Unknown, Quick, Unknown, Quick]).await;
        assert_eq!(order, [2, 4, 1, 3, 0]);
    }

    #[tokio::test]
    async fn lowest_rank_gets_a_permit() {
        let mut paces = vec![Unknown];
        paces.extend([Quick; 1_200]);
        let order = order_of(&paces).await;
        assert_eq!(order.iter().position(|number| *number == 0), Some(999));
    }

    #[tokio::test]
    async fn abandoned_places_keep_no_permit() {
        let queue = WorkerQueue::new(1);
        let held = queue.acquire(Unknown).await;
        let mut first = Box::pin(queue.acquire(Quick));
        let mut second = Box::pin(queue.acquire(Quick));
        tokio::select! {
            biased;
            _ = &mut first => unreachable!(),
            _ = &mut second => unreachable!(),
            () = std::future::ready(()) => {}
        }
        // The first one has its permit, but its future is not polled any more.
        drop(held);
        drop(first);
        drop(second.await);
        assert_eq!(queue.state.lock().free, 1);
        assert!(!queue.has_waiting());
    }
}
