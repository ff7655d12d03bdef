//! Accepted connections that their worker has not started yet. The queue is empty unless the worker
//! is overloaded.
//!
//! Last in, first out: a client that has waited long may have given up, and the work for it would
//! be wasted. In order of arrival, clients that time out and retry would only ever be answered too late.
//! Connections in the reserve, where health checks are, are few and come first, in order of arrival.

use std::collections::VecDeque;
use std::time::Duration;

use super::client_stream::AcceptedStream;
use super::coarse_clock::duration_between;
use super::connection_places::ConnectionPermit;

/// A connection that has waited for less than this is not evicted.
const MIN_EVICTION_WAIT: Duration = Duration::from_secs(1);

/// Queued connections, newest last.
#[derive(Default)]
pub(super) struct AcceptQueue {
    regular: VecDeque<QueuedConnection>,
    reserved: VecDeque<QueuedConnection>,
}

/// An accepted connection in the queue.
pub(super) struct QueuedConnection {
    /// When the worker received it, on the worker's coarse clock.
    pub(super) accepted_at: u64,
    pub(super) stream: AcceptedStream,
    pub(super) permit: ConnectionPermit,
}

impl AcceptQueue {
    /// Whether no connection is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.regular.is_empty() && self.reserved.is_empty()
    }

    /// Adds the newest connection.
    pub(super) fn push(&mut self, connection: QueuedConnection) {
        if connection.permit.is_reserved() {
            self.reserved.push_back(connection);
        } else {
            self.regular.push_back(connection);
        }
    }

    /// Takes the connection to start next.
    pub(super) fn pop_next(&mut self) -> Option<QueuedConnection> {
        self.reserved
            .pop_front()
            .or_else(|| self.regular.pop_back())
    }

    /// Closes the regular connections that have waited for `timeout`: the time for their first request's
    /// head has passed.
    pub(super) fn remove_expired(&mut self, now: u64, timeout: Duration) {
        self.pop_oldest_while(usize::MAX, |waited| waited >= timeout, now);
    }

    /// Closes up to a hundredth of the regular connections, longest waiting first. Returns whether one was
    /// closed.
    pub(super) fn evict_oldest(&mut self, now: u64) -> bool {
        let share = self.regular.len().div_ceil(100);
        self.pop_oldest_while(share, |waited| waited >= MIN_EVICTION_WAIT, now) > 0
    }

    fn pop_oldest_while(
        &mut self,
        limit: usize,
        is_due: impl Fn(Duration) -> bool,
        now: u64,
    ) -> usize {
        let due = self
            .regular
            .iter()
            .take(limit)
            .take_while(|queued| is_due(duration_between(queued.accepted_at, now)))
            .count();
        self.regular.drain(..due);
        due
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::client_limit::ClientPermit;
    use super::super::connection_places::ConnectionPlaces;
    use super::super::route_access::ListenerScope;
    use super::*;
    use crate::metrics::{RequestMetrics, ThreadCounters};
    use prometheus_client::registry::Registry;

    /// A queue of connections accepted every 100 ms, the last `reserved` of them in the reserve, their counters, and
    /// the places of the listener.
    fn filled_queue(
        count: u64,
        reserved: u64,
    ) -> (AcceptQueue, Arc<ThreadCounters>, Arc<ConnectionPlaces>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let counters = RequestMetrics::register(&mut Registry::default(), &[]).register_thread();
        let regular = (count - reserved) as usize;
        let places = ConnectionPlaces::new(ListenerScope::Everything, regular, reserved as usize);
        let mut queue = AcceptQueue::default();
        for index in 0..count {
            let place = places.take_regular().or_else(|| places.take_reserved());
            let place = place.unwrap();
            queue.push(QueuedConnection {
                accepted_at: index * 100,
                stream: AcceptedStream::Tcp(
                    TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
                ),
                permit: ConnectionPermit::new(
                    Arc::clone(&counters),
                    place,
                    ClientPermit::default(),
                ),
            });
        }
        (queue, counters, places)
    }

    #[test]
    fn newest_is_next_and_old_expire() {
        let (mut queue, counters, places) = filled_queue(20, 0);
        let newest = queue.pop_next().map(|queued| queued.accepted_at);
        assert_eq!(newest, Some(1900));
        queue.remove_expired(10_450, Duration::from_secs(10));
        assert_eq!(counters.open_connections.load(Relaxed), 14);
        let free: Vec<_> = std::iter::from_fn(|| places.take_regular()).collect();
        assert_eq!(free.len(), 6);
        let rest: Vec<u64> = std::iter::from_fn(|| queue.pop_next())
            .map(|queued| queued.accepted_at)
            .collect();
        assert_eq!((rest[0], rest.last(), rest.len()), (1800, Some(&500), 14));
        assert!(queue.is_empty() && counters.open_connections.load(Relaxed) == 0);
    }

    #[test]
    fn reserved_come_first_in_order() {
        let (mut queue, ..) = filled_queue(6, 3);
        let order = std::iter::from_fn(|| queue.pop_next()).map(|queued| queued.accepted_at);
        assert_eq!(order.collect::<Vec<_>>(), [300, 400, 500, 200, 100, 0]);
        assert!(queue.is_empty());
    }

    #[test]
    fn only_long_waiting_is_evicted() {
        let (mut queue, counters, _) = filled_queue(101, 0);
        assert!(queue.evict_oldest(20_000));
        assert_eq!(counters.open_connections.load(Relaxed), 99);
        assert!(!queue.evict_oldest(1_100));
        assert_eq!(counters.open_connections.load(Relaxed), 99);
    }
}
