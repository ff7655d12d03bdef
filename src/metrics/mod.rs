//! The metrics of the program: counters, histograms and collectors for the registry of
//! `prometheus-client`.
//!
//! The registry and the counters are created first and handed to the modules that count. Nothing
//! here serves HTTP: `api` encodes the registry for `/metrics`.

mod encoder;
mod fetch_metrics;
mod own_families;
mod own_series;
mod path_admission;
mod process_metrics;
mod process_stats;
mod request_metrics;
mod source_metrics;
mod source_numbers;
mod value_metrics;

pub(crate) use encoder::{millis_to_seconds, write_counter, write_gauge};
pub use fetch_metrics::FetchMetrics;
pub(crate) use own_families::write_own_families;
pub use own_series::{MetricChange, OwnSeries};
pub(crate) use process_metrics::write_task_metrics;
pub use process_metrics::{ProcessMetrics, StoreErrorCounter};
pub use request_metrics::RequestMetrics;
pub(crate) use request_metrics::{RouteId, ThreadCounters};
pub(crate) use source_metrics::{write_left_out, write_source_metrics};
pub(crate) use source_numbers::SourceNumbers;
pub(crate) use value_metrics::ExtractedNumbers;
