//! What the serving threads count: each in its own counters, so that counting is a plain store without lock, allocation
//! or a cache line shared between threads; summed when somebody asks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::routes::{LABELS, OTHER};

/// Upper bounds of the duration buckets, in microseconds.
pub(super) const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// One thread's counters. Only that thread writes, but for `connections`.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Connections that it holds now.
    pub(super) connections: AtomicUsize,
    routes: [RouteCounters; LABELS.len()],
}

/// What is counted of one route.
#[derive(Debug, Default)]
struct RouteCounters {
    /// Answers by class of their status, 1xx first.
    classes: [AtomicU64; 5],
    /// Answers by duration; the last bucket is for those beyond every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Sums over all threads of what is counted of one route.
#[derive(Debug, Default, Clone)]
pub(super) struct RouteSums {
    pub(super) classes: [u64; 5],
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) micros: u64,
}

/// The counters of all threads.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Vec<Arc<Counters>>>);

impl Counters {
    /// Counts one answer of the route with this label.
    pub(super) fn count(&self, label: usize, status: StatusCode, took: Duration) {
        let route = &self.routes[label.min(OTHER)];
        let micros = took.as_micros() as u64;
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        add(&route.classes[class], 1);
        add(
            &route.buckets[BOUNDS
                .iter()
                .position(|bound| micros <= *bound)
                .unwrap_or(BOUNDS.len())],
            1,
        );
        add(&route.micros, micros);
    }
}

/// There is one writer, so that no atomic addition is needed.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl Board {
    /// Counters for one more thread.
    pub(super) fn enroll(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.threads().push(Arc::clone(&counters));
        counters
    }

    /// Connections open now.
    pub(super) fn connections(&self) -> usize {
        self.threads()
            .iter()
            .map(|thread| thread.connections.load(Relaxed))
            .sum()
    }

    /// The sums for the route with this label.
    pub(super) fn sums(&self, label: usize) -> RouteSums {
        let mut sums = RouteSums::default();
        for thread in self.threads().iter() {
            let route = &thread.routes[label];
            let each = sums
                .classes
                .iter_mut()
                .zip(&route.classes)
                .chain(sums.buckets.iter_mut().zip(&route.buckets));
            each.for_each(|(sum, counter)| *sum += counter.load(Relaxed));
            sums.micros += route.micros.load(Relaxed);
        }
        sums
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Counters>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed() {
        let board = Board::default();
        let (one, two) = (board.enroll(), board.enroll());
        one.count(0, StatusCode::OK, Duration::from_micros(100));
        two.count(0, StatusCode::OK, Duration::from_micros(101));
        two.count(0, StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(60));
        let sums = board.sums(0);
        assert_eq!(sums.classes, [0, 2, 0, 0, 1]);
        assert_eq!(
            (sums.buckets[0], sums.buckets[1], sums.buckets[BOUNDS.len()]),
            (1, 1, 1)
        );
        assert_eq!(sums.micros, 60_000_201);
    }
}
