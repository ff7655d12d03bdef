//! Operation: metrics, logs, resource use, supervision and deployment files.

pub mod access_log;
pub mod clock_changes;
pub mod dependency_docs;
pub mod deployment_files;
pub mod descriptor_limits;
pub mod grafana_dashboard;
pub mod load_bounds;
pub mod log_docs;
pub mod metric_docs;
pub mod metrics_endpoint;
mod open_metrics;
mod own_metrics;
pub mod panic_isolation;
pub mod prometheus_rules;
pub mod soak_run;
pub mod task_supervision;
pub mod waiting_threads;
