//! Metrics of the process: build, store errors, reloads and tasks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::domain::Time;
use crate::process::{Clock, Supervisor};

use super::encoder::write_gauge;
use super::process_stats::ProcessCollector;

/// Counts the failed operations of one store: the state file or the store that replicas share.
/// Cheap to clone; clones count together.
pub type StoreErrorCounter = Counter;

/// Counters and facts of the whole process. Clones count together.
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    store_errors: Family<[(&'static str, &'static str); 1], StoreErrorCounter>,
    last_reload_succeeded: Gauge,
    /// When a configuration was last accepted, in milliseconds since the epoch.
    last_success_ms: Arc<AtomicI64>,
}

impl ProcessMetrics {
    /// Registers the metrics of a process that starts now with a valid configuration. `revision` is the commit of the build; empty if unknown.
    pub fn register(registry: &mut Registry, clock: Clock, revision: &'static str) -> Self {
        let metrics = Self {
            store_errors: Family::default(),
            last_reload_succeeded: Gauge::default(),
            last_success_ms: Arc::default(),
        };
        // A store that is not configured is exported with 0, so that its series always exists.
        for store in ["file", "redis"] {
            metrics.store_error_counter(store);
        }
        let now = clock.now();
        metrics.record_reload(Some(now));
        // The registry adds the full stop of each help text.
        registry.register(
            "resumen_build",
            "Version and commit of the build",
            Info::new([
                ("version", env!("CARGO_PKG_VERSION")),
                ("revision", revision),
            ]),
        );
        registry.register(
            "resumen_store_errors",
            "Failed operations of a store",
            metrics.store_errors.clone(),
        );
        registry.register(
            "resumen_config_last_reload_successful",
            "Whether the latest reload of the configuration succeeded",
            metrics.last_reload_succeeded.clone(),
        );
        registry.register_collector(Box::new(ProcessCollector {
            clock,
            started_at: now,
            last_reload_success_ms: Arc::clone(&metrics.last_success_ms),
        }));
        metrics
    }

    /// The counter of this store: `file` or `redis`.
    pub fn store_error_counter(&self, store: &'static str) -> StoreErrorCounter {
        self.store_errors.get_or_create_owned(&[("store", store)])
    }

    /// Records a reload that succeeded at `success_at`, or `None` for one that was rejected.
    pub fn record_reload(&self, success_at: Option<Time>) {
        self.last_reload_succeeded
            .set(i64::from(success_at.is_some()));
        if let Some(time) = success_at {
            self.last_success_ms.store(time.as_millis(), Relaxed);
        }
    }
}

/// Writes the families of the supervised tasks.
pub(crate) fn write_task_metrics(
    encoder: &mut DescriptorEncoder<'_>,
    supervisor: &Supervisor,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "resumen_task_restarts",
        "Restarts of background tasks that ended or panicked unexpectedly.",
        None,
        MetricType::Counter,
    )?;
    for (task, count) in supervisor.restarts() {
        ConstCounter::new(count).encode(family.encode_family(&[("task", task)])?)?;
    }
    write_gauge(
        encoder,
        "resumen_tasks",
        "Background tasks and flights running now.",
        supervisor.count_alive_tasks(),
    )
}
