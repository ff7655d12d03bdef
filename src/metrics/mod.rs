//! The metrics of the program: counters, histograms and the Prometheus text encoder.

mod encoder;
pub(crate) mod fetch_metrics;
pub(crate) mod process_stats;
mod request_metrics;
mod store_errors;
mod value_metrics;

pub(crate) use encoder::{MetricType, MetricsEncoder};
pub use fetch_metrics::FetchMetrics;
pub(crate) use request_metrics::{DURATION_BOUNDS_US, HttpMetrics, ThreadCounters};
pub use store_errors::StoreErrorCounter;
pub(crate) use value_metrics::collect_numbers;
