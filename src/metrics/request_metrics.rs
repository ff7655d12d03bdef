//! What the serving threads count: each in its own counters, so that counting is a plain store without lock, allocation
//! or a cache line shared between threads; summed when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;

use crate::api::{ROUTE_LABELS, UNMATCHED_ROUTE};

/// Upper bounds of the duration buckets, in microseconds.
pub(crate) const DURATION_BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// One thread's counters. Only that thread writes, but for `connections`.
#[derive(Debug, Default)]
pub(crate) struct ThreadCounters {
    /// Connections that it holds now.
    pub(crate) open_connections: AtomicUsize,
    routes: [RouteCounters; ROUTE_LABELS.len()],
}

/// What is counted of one route.
#[derive(Debug, Default)]
struct RouteCounters {
    /// Answers by class of their status, 1xx first.
    status_classes: [AtomicU64; 5],
    /// Answers by duration; the last bucket is for those beyond every bound.
    duration_buckets: [AtomicU64; DURATION_BOUNDS_US.len() + 1],
    total_micros: AtomicU64,
}

/// Sums over all threads of what is counted of one route.
#[derive(Debug, Default, Clone)]
pub(crate) struct RouteSums {
    pub(crate) status_classes: [u64; 5],
    pub(crate) duration_buckets: [u64; DURATION_BOUNDS_US.len() + 1],
    pub(crate) total_micros: u64,
}

/// The counters of all threads.
#[derive(Debug, Default)]
pub(crate) struct HttpMetrics(Mutex<Vec<Arc<ThreadCounters>>>);

impl ThreadCounters {
    /// Counts one answer of the route with this label.
    pub(crate) fn record_response(&self, label: usize, status: StatusCode, took: Duration) {
        let route = &self.routes[label.min(UNMATCHED_ROUTE)];
        let micros = took.as_micros() as u64;
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        increase_counter(&route.status_classes[class], 1);
        increase_counter(
            &route.duration_buckets[DURATION_BOUNDS_US
                .iter()
                .position(|bound| micros <= *bound)
                .unwrap_or(DURATION_BOUNDS_US.len())],
            1,
        );
        increase_counter(&route.total_micros, micros);
    }
}

/// There is one writer, so that no atomic addition is needed.
fn increase_counter(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl HttpMetrics {
    /// Counters for one more thread.
    pub(crate) fn register_thread(&self) -> Arc<ThreadCounters> {
        let counters = Arc::new(ThreadCounters::default());
        self.lock_threads().push(Arc::clone(&counters));
        counters
    }

    /// Connections open now.
    pub(crate) fn count_open_connections(&self) -> usize {
        self.lock_threads()
            .iter()
            .map(|thread| thread.open_connections.load(Relaxed))
            .sum()
    }

    /// The sums for the route with this label.
    pub(crate) fn sum_route(&self, label: usize) -> RouteSums {
        let mut sums = RouteSums::default();
        for thread in self.lock_threads().iter() {
            let route = &thread.routes[label];
            let each = sums
                .status_classes
                .iter_mut()
                .zip(&route.status_classes)
                .chain(
                    sums.duration_buckets
                        .iter_mut()
                        .zip(&route.duration_buckets),
                );
            each.for_each(|(sum, counter)| *sum += counter.load(Relaxed));
            sums.total_micros += route.total_micros.load(Relaxed);
        }
        sums
    }

    fn lock_threads(&self) -> parking_lot::MutexGuard<'_, Vec<Arc<ThreadCounters>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed() {
        let board = HttpMetrics::default();
        let (one, two) = (board.register_thread(), board.register_thread());
        one.record_response(0, StatusCode::OK, Duration::from_micros(100));
        two.record_response(0, StatusCode::OK, Duration::from_micros(101));
        two.record_response(0, StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(60));
        let sums = board.sum_route(0);
        assert_eq!(sums.status_classes, [0, 2, 0, 0, 1]);
        assert_eq!(
            (
                sums.duration_buckets[0],
                sums.duration_buckets[1],
                sums.duration_buckets[DURATION_BOUNDS_US.len()]
            ),
            (1, 1, 1)
        );
        assert_eq!(sums.total_micros, 60_000_201);
    }
}
