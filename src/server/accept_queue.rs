//! Connections that were accepted and that no thread has taken on yet. There are some only while a thread has its hands
//! full.
//!
//! The newest goes first. Whoever has waited long has perhaps given up, and then all that is done for it is lost; served
//! in the order of coming, a crowd that gives up and comes again would only ever be answered too late.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Duration;

use super::connection_state::duration_between;
use super::worker::ConnectionPermit;

/// Who has waited for less than this keeps its place when others want one.
const MIN_EVICTION_WAIT: Duration = Duration::from_secs(1);

/// Those who wait, the newest last.
#[derive(Default)]
pub(crate) struct AcceptQueue(VecDeque<QueuedConnection>);

/// An accepted connection.
pub(crate) struct QueuedConnection {
    /// When it was accepted, in ticks of its thread.
    pub(crate) accepted_at: u64,
    pub(crate) stream: TcpStream,
    pub(crate) permit: ConnectionPermit,
}

impl AcceptQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push_connection(&mut self, newcomer: QueuedConnection) {
        self.0.push_back(newcomer);
    }

    /// The newest.
    pub(crate) fn pop_newest(&mut self) -> Option<QueuedConnection> {
        self.0.pop_back()
    }

    /// Sends those away who have waited for this long: the time for their request's head is over.
    pub(crate) fn remove_expired(&mut self, now: u64, patience: Duration) {
        while self
            .0
            .front()
            .is_some_and(|oldest| duration_between(oldest.accepted_at, now) >= patience)
        {
            self.0.pop_front();
        }
    }

    /// Sends those away who have waited longest: a hundredth of all. Whether there was one.
    pub(crate) fn evict_oldest(&mut self, now: u64) -> bool {
        let share = self.0.len().div_ceil(100);
        let before = self.0.len();
        let long = |newcomer: &QueuedConnection| {
            duration_between(newcomer.accepted_at, now) >= MIN_EVICTION_WAIT
        };
        while before - self.0.len() < share && self.0.front().is_some_and(long) {
            self.0.pop_front();
        }
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::metrics::ThreadCounters;

    /// A lobby into which somebody came every 100 ms, the counters, and the places under the cap.
    fn filled_queue(count: u64) -> (AcceptQueue, Arc<ThreadCounters>, Arc<Semaphore>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (stats, room) = (
            Arc::<ThreadCounters>::default(),
            Arc::new(Semaphore::new(count as usize)),
        );
        let mut lobby = AcceptQueue::default();
        for at in 0..count {
            stats.open_connections.fetch_add(1, Relaxed);
            let place = ConnectionPermit::new(
                Arc::clone(&stats),
                Arc::clone(&room).try_acquire_owned().unwrap(),
            );
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            lobby.push_connection(QueuedConnection {
                accepted_at: at * 100,
                stream,
                permit: place,
            });
        }
        (lobby, stats, room)
    }

    #[test]
    fn queue_pops_newest_and_expires() {
        let (mut lobby, stats, room) = filled_queue(20);
        assert_eq!(
            lobby.pop_newest().map(|newcomer| newcomer.accepted_at),
            Some(1900)
        );
        lobby.remove_expired(10_450, Duration::from_secs(10));
        assert_eq!(
            (
                stats.open_connections.load(Relaxed),
                room.available_permits()
            ),
            (14, 6)
        );
        let rest: Vec<u64> = std::iter::from_fn(|| lobby.pop_newest())
            .map(|newcomer| newcomer.accepted_at)
            .collect();
        assert_eq!((rest[0], rest.last(), rest.len()), (1800, Some(&500), 14));
        assert!(lobby.is_empty() && stats.open_connections.load(Relaxed) == 0);
    }

    #[test]
    fn only_long_waiting_is_evicted() {
        let (mut lobby, stats, _) = filled_queue(101);
        assert!(lobby.evict_oldest(20_000));
        assert_eq!(stats.open_connections.load(Relaxed), 99);
        assert!(!lobby.evict_oldest(1_100));
        assert_eq!(stats.open_connections.load(Relaxed), 99);
    }
}
