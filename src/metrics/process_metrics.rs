//! Metrics of the process: build, store errors, reloads, tasks and operating-system figures.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use crate::domain::Time;
use crate::process::Supervisor;

use super::encoder::{MetricType, MetricsEncoder, millis_to_seconds};
use super::process_stats::write_os_metrics;
use super::store_errors::StoreErrorCounter;

/// Values of the label `store`.
const STORE_LABELS: [&str; 2] = ["file", "redis"];

/// Counters and facts of the whole process.
#[derive(Debug)]
pub struct ProcessMetrics {
    /// Commit of the build; empty if unknown.
    revision: &'static str,
    started_at: Time,
    /// In the order of [`STORE_LABELS`].
    store_errors: [StoreErrorCounter; STORE_LABELS.len()],
    last_reload_succeeded: AtomicBool,
    /// When a configuration was last accepted, in milliseconds since the epoch.
    last_success_ms: AtomicI64,
}

impl ProcessMetrics {
    /// Metrics of a process that started, with a valid configuration, at `now`.
    pub fn new(now: Time, revision: &'static str) -> Self {
        Self {
            revision,
            started_at: now,
            store_errors: Default::default(),
            last_reload_succeeded: AtomicBool::new(true),
            last_success_ms: AtomicI64::new(now.as_millis()),
        }
    }

    /// The counter of this store: `file` or `redis`. A counter of another label is not exported.
    pub fn store_error_counter(&self, store: &str) -> StoreErrorCounter {
        let index = STORE_LABELS.into_iter().position(|label| label == store);
        index.map_or_else(StoreErrorCounter::default, |index| {
            self.store_errors[index].clone()
        })
    }

    /// Records a reload that succeeded at `success_at`, or `None` for one that was rejected.
    pub fn record_reload(&self, success_at: Option<Time>) {
        self.last_reload_succeeded
            .store(success_at.is_some(), Relaxed);
        if let Some(time) = success_at {
            self.last_success_ms.store(time.as_millis(), Relaxed);
        }
    }

    /// Writes the families of the process.
    pub(crate) fn write(&self, encoder: &mut MetricsEncoder) {
        let name = "resumen_build_info";
        encoder.begin_family(name, MetricType::Gauge, "Version and commit of the build.");
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", self.revision),
        ];
        encoder.write_sample(name, &labels, 1);

        let name = "resumen_store_errors_total";
        encoder.begin_family(name, MetricType::Counter, "Failed operations of a store.");
        // A store that is not configured is exported with 0, so that its series always exists.
        for (store, counter) in STORE_LABELS.into_iter().zip(&self.store_errors) {
            encoder.write_sample(name, &[("store", store)], counter.count());
        }

        encoder.write_metric(
            "resumen_config_last_reload_successful",
            MetricType::Gauge,
            "Whether the latest reload of the configuration succeeded.",
            u8::from(self.last_reload_succeeded.load(Relaxed)),
        );
        encoder.write_metric(
            "resumen_config_last_reload_success_timestamp_seconds",
            MetricType::Gauge,
            "When a configuration was last accepted, since the epoch.",
            millis_to_seconds(self.last_success_ms.load(Relaxed)),
        );
        write_os_metrics(encoder, self.started_at);
    }
}

/// Writes the families of the supervised tasks.
pub(crate) fn write_task_metrics(encoder: &mut MetricsEncoder, supervisor: &Supervisor) {
    let name = "resumen_task_restarts_total";
    encoder.begin_family(
        name,
        MetricType::Counter,
        "Restarts of background tasks that ended or panicked unexpectedly.",
    );
    for (task, count) in supervisor.restarts() {
        encoder.write_sample(name, &[("task", task)], count);
    }
    encoder.write_metric(
        "resumen_tasks",
        MetricType::Gauge,
        "Background tasks and flights running now.",
        supervisor.count_alive_tasks(),
    );
}
