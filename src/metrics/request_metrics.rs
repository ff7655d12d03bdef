//! Metrics of HTTP requests: responses and durations by route, and open connections.
//!
//! Each worker thread has its own [`ThreadCounters`]. Counting is a plain store: no lock, no
//! allocation, and no cache line shared between workers. The sums over all threads are computed
//! when `/metrics` is requested.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::encoder::write_gauge;

/// Upper bounds of the duration buckets, in microseconds.
const DURATION_BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Label of requests whose path matches no route.
const UNMATCHED_LABEL: &str = "other";

/// Values of the label `status`, by class of status code. No final response has a 1xx status.
const STATUS_LABELS: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The request counters of all worker threads.
#[derive(Debug)]
pub struct RequestMetrics {
    /// Values of the label `route`, without [`UNMATCHED_LABEL`].
    routes: &'static [&'static str],
    threads: Mutex<Vec<Arc<ThreadCounters>>>,
    /// Connections closed because their client had the maximum.
    refused_connections: AtomicU64,
}

/// Position of a route's counters; the last position belongs to unmatched paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteId(usize);

impl RouteId {
    /// The position in the list of routes; its length for unmatched paths.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// The counters of one worker thread. Only that thread writes them, except for `open_connections`.
#[derive(Debug)]
pub(crate) struct ThreadCounters {
    /// Connections assigned to the thread and not yet closed.
    pub(crate) open_connections: AtomicUsize,
    routes: Box<[RouteCounters]>,
}

/// The counters of one route in one thread.
#[derive(Debug, Default)]
struct RouteCounters {
    /// Responses by class of status, in the order of [`STATUS_LABELS`].
    status_classes: [AtomicU64; STATUS_LABELS.len()],
    /// Responses by duration; the last bucket is above every bound.
    duration_buckets: [AtomicU64; DURATION_BOUNDS_US.len() + 1],
    total_micros: AtomicU64,
}

/// The sums of one route over all threads.
#[derive(Debug, Default)]
struct RouteSums {
    status_classes: [u64; STATUS_LABELS.len()],
    duration_buckets: [u64; DURATION_BOUNDS_US.len() + 1],
    total_micros: u64,
}

impl RequestMetrics {
    /// Registers metrics for these routes. A path segment in braces, and the rest of the path, match any
    /// text.
    pub fn register(registry: &mut Registry, routes: &'static [&'static str]) -> Arc<Self> {
        let metrics = Arc::new(Self {
            routes,
            threads: Mutex::default(),
            refused_connections: AtomicU64::new(0),
        });
        registry.register_collector(Box::new(Arc::clone(&metrics)));
        metrics
    }

    /// The counters of one more worker thread.
    pub(crate) fn register_thread(&self) -> Arc<ThreadCounters> {
        let routes = self.labels().map(|_| RouteCounters::default()).collect();
        let counters = Arc::new(ThreadCounters {
            open_connections: AtomicUsize::new(0),
            routes,
        });
        self.threads.lock().push(Arc::clone(&counters));
        counters
    }

    /// Counts a connection that was closed because its client had the maximum.
    pub(crate) fn record_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    /// The route that a request's path is counted under.
    pub(crate) fn route_of(&self, path: &str) -> RouteId {
        let matches = |route: &&str| match route.split_once('{') {
            Some((prefix, _)) => path.starts_with(prefix),
            None => *route == path,
        };
        let index = self.routes.iter().position(matches);
        index.map_or(self.unmatched_route(), RouteId)
    }

    /// The route of requests whose path matches none, or cannot be parsed.
    pub(crate) fn unmatched_route(&self) -> RouteId {
        RouteId(self.routes.len())
    }

    fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.routes.iter().copied().chain([UNMATCHED_LABEL])
    }

    fn sum_route(&self, route: RouteId) -> RouteSums {
        let mut sums = RouteSums::default();
        for thread in self.threads.lock().iter() {
            let counters = &thread.routes[route.0];
            for (sum, counter) in sums.status_classes.iter_mut().zip(&counters.status_classes) {
                *sum += counter.load(Relaxed);
            }
            for (sum, counter) in sums
                .duration_buckets
                .iter_mut()
                .zip(&counters.duration_buckets)
            {
                *sum += counter.load(Relaxed);
            }
            sums.total_micros += counters.total_micros.load(Relaxed);
        }
        sums
    }
}

impl Collector for RequestMetrics {
    /// Writes the families of requests and connections.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sums: Vec<(&str, RouteSums)> = self
            .labels()
            .enumerate()
            .map(|(index, label)| (label, self.sum_route(RouteId(index))))
            .collect();
        let mut family = encoder.encode_descriptor(
            "resumen_http_requests",
            "Responses by route and class of status.",
            None,
            MetricType::Counter,
        )?;
        // Every combination is exported, also at 0: a series must exist before its first increment.
        for (route, sums) in &sums {
            for (status, count) in STATUS_LABELS.into_iter().zip(sums.status_classes) {
                let labels = [("route", *route), ("status", status)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "resumen_http_request_duration_seconds",
            "Time from the end of a request's head to the head of its response.",
            None,
            MetricType::Histogram,
        )?;
        for (route, sums) in &sums {
            let bounds = DURATION_BOUNDS_US.map(micros_to_seconds);
            let bounds = bounds.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(sums.duration_buckets).collect();
            family
                .encode_family(&[("route", *route)])?
                .encode_histogram::<NoLabelSet>(
                    micros_to_seconds(sums.total_micros),
                    sums.duration_buckets.iter().sum(),
                    &buckets,
                    None,
                )?;
        }
        let family = encoder.encode_descriptor(
            "resumen_http_refused_connections",
            "Connections closed at once because their address had max_per_client.",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.refused_connections.load(Relaxed)).encode(family)?;
        let threads = self.threads.lock();
        let open_connections = threads
            .iter()
            .map(|thread| thread.open_connections.load(Relaxed))
            .sum::<usize>();
        write_gauge(
            &mut encoder,
            "resumen_http_connections",
            "Connections open now.",
            open_connections,
        )
    }
}

impl ThreadCounters {
    /// Counts one response.
    pub(crate) fn record_response(&self, route: RouteId, status: StatusCode, duration: Duration) {
        let Some(counters) = self.routes.get(route.0) else {
            return;
        };
        let micros = duration.as_micros() as u64;
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        add(&counters.status_classes[class], 1);
        add(&counters.duration_buckets[bucket_index(micros)], 1);
        add(&counters.total_micros, micros);
    }
}

/// The bucket of a duration: the first whose upper bound is not below it, else the one after the
/// last bound.
fn bucket_index(micros: u64) -> usize {
    DURATION_BOUNDS_US.partition_point(|bound| *bound < micros)
}

fn micros_to_seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Adds to a counter that only the calling thread writes, so that the addition need not be atomic.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[&str] = &["/", "/panel/{version}/{file}", "/resumen"];

    #[test]
    fn threads_are_summed() {
        let metrics = RequestMetrics::register(&mut Registry::default(), ROUTES);
        let (first, second) = (metrics.register_thread(), metrics.register_thread());
        let route = metrics.route_of("/resumen");
        first.record_response(route, StatusCode::OK, Duration::from_micros(100));
        second.record_response(route, StatusCode::OK, Duration::from_micros(101));
        second.record_response(
            route,
            StatusCode::SERVICE_UNAVAILABLE,
            Duration::from_secs(60),
        );
        let sums = metrics.sum_route(route);
        assert_eq!(sums.status_classes, [2, 0, 0, 1]);
        let buckets = sums.duration_buckets;
        assert_eq!(
            (buckets[0], buckets[1], buckets[DURATION_BOUNDS_US.len()]),
            (1, 1, 1)
        );
        assert_eq!(sums.total_micros, 60_000_201);
    }

    #[test]
    fn path_is_counted_under_its_route() {
        let metrics = RequestMetrics::register(&mut Registry::default(), ROUTES);
        assert_eq!(metrics.route_of("/resumen"), RouteId(2));
        assert_eq!(metrics.route_of("/panel/1/card.js"), RouteId(1));
        assert_eq!(metrics.route_of("/resumen/"), metrics.unmatched_route());
    }
}
