//! The metrics of the program: counters, histograms and the Prometheus text encoder.
//!
//! Counters are created first and handed to the modules that count. Nothing here serves HTTP: `api`
//! gathers the families into the page of `/metrics`.

mod encoder;
mod fetch_metrics;
mod process_metrics;
mod process_stats;
mod request_metrics;
mod source_metrics;
mod store_errors;
mod value_metrics;

pub(crate) use encoder::{MetricType, MetricsEncoder, millis_to_seconds};
pub use fetch_metrics::FetchMetrics;
pub use process_metrics::ProcessMetrics;
pub(crate) use process_metrics::write_task_metrics;
pub use request_metrics::RequestMetrics;
pub(crate) use request_metrics::{RouteId, ThreadCounters};
pub(crate) use source_metrics::write_source_metrics;
pub use store_errors::StoreErrorCounter;
pub(crate) use value_metrics::collect_numbers;
