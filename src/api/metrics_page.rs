//! `/metrics`: everything that is counted or known, as Prometheus reads it. Labels come from the configuration and from
//! the code's own lists, so that no request can add a series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use axum::extract::State;
use axum::response::Response;

use crate::domain::Time;
use crate::process::Supervisor;
use crate::replicas::{ReplicaMode, ReplicaStatus};

use super::routes::ROUTE_LABELS;
use super::state::AppState;
use crate::metrics::DURATION_BOUNDS_US;
use crate::metrics::StoreErrorCounter;
use crate::metrics::{MetricType, MetricsEncoder};
use crate::metrics::{fetch_metrics, process_stats};
use crate::server::no_store_response;

/// What the rest of the program tells of itself. Written by whoever it happens to, read by `/metrics`.
#[derive(Debug)]
pub struct ProcessMetrics {
    /// The commit that this program was built from, or nothing.
    pub revision: &'static str,
    /// Failed operations of the state file.
    pub file_errors: StoreErrorCounter,
    /// Failed operations of the store that replicas share.
    pub redis_errors: StoreErrorCounter,
    did_reload_succeed: AtomicBool,
    last_reload_at: AtomicI64,
}

impl ProcessMetrics {
    /// Of a program that read its configuration at `now`.
    pub fn new(now: Time, revision: &'static str) -> Self {
        Self {
            revision,
            file_errors: StoreErrorCounter::default(),
            redis_errors: StoreErrorCounter::default(),
            did_reload_succeed: AtomicBool::new(true),
            last_reload_at: AtomicI64::new(now.as_millis()),
        }
    }

    /// A reload ended: at this instant, or refused.
    pub fn record_reload(&self, at: Option<Time>) {
        self.did_reload_succeed.store(at.is_some(), Relaxed);
        if let Some(at) = at {
            self.last_reload_at.store(at.as_millis(), Relaxed);
        }
    }
}

/// The page.
pub(crate) async fn get_metrics(State(site): State<Arc<AppState>>) -> Response {
    let mut page = MetricsEncoder::default();
    page.begin_family("resumen_build_info", MetricType::Gauge, "What was built.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", site.process_metrics.revision),
    ];
    page.write_sample("resumen_build_info", &labels, 1);
    fetch_metrics::write_source_metrics(
        &mut page,
        &site.cache.snapshot(),
        &site.fetch_metrics,
        site.clock.now(),
    );
    write_http_metrics(&mut page, &site);
    write_process_metrics(&mut page, &site.process_metrics);
    write_task_metrics(&mut page, &site.supervisor);
    if let Some(fleet) = &site.replica {
        write_replica_metrics(&mut page, &fleet.status());
    }
    process_stats::write_os_metrics(&mut page, millis_to_seconds(site.started_at.as_millis()));
    no_store_response("text/plain; version=0.0.4; charset=utf-8", page.into_text())
}

/// Milliseconds as seconds.
pub(crate) fn millis_to_seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

fn write_http_metrics(page: &mut MetricsEncoder, site: &AppState) {
    let sums: Vec<_> = ROUTE_LABELS
        .iter()
        .enumerate()
        .map(|(at, label)| (*label, site.http_metrics.sum_route(at)))
        .collect();
    let requests = "resumen_http_requests_total";
    page.begin_family(
        requests,
        MetricType::Counter,
        "Answers by route and class of status.",
    );
    for (route, sums) in &sums {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .into_iter()
            .zip(sums.status_classes)
            .skip(1)
        {
            page.write_sample(requests, &[("route", route), ("status", class)], count);
        }
    }
    let durations = "resumen_http_request_duration_seconds";
    page.begin_family(
        durations,
        MetricType::Histogram,
        "From the end of a request's head to the head of its answer.",
    );
    for (route, sums) in &sums {
        page.write_histogram(
            durations,
            ("route", route),
            &DURATION_BOUNDS_US,
            &sums.duration_buckets,
            sums.total_micros,
        );
    }
    let connections = site.http_metrics.count_open_connections();
    page.write_metric(
        "resumen_http_connections",
        MetricType::Gauge,
        "Connections open now.",
        connections,
    );
    page.write_metric(
        "resumen_stream_clients",
        MetricType::Gauge,
        "Clients of the stream.",
        site.stream_clients.count(),
    );
}

fn write_task_metrics(page: &mut MetricsEncoder, supervisor: &Supervisor) {
    let restarts = "resumen_task_restarts_total";
    page.begin_family(
        restarts,
        MetricType::Counter,
        "Tasks of the program itself that stopped by themselves and were started again.",
    );
    for (task, count) in supervisor.restarts() {
        page.write_sample(restarts, &[("task", task)], count);
    }
    page.write_metric(
        "resumen_tasks",
        MetricType::Gauge,
        "Tasks beside the serving threads now.",
        supervisor.count_alive_tasks(),
    );
}

/// How this replica stands to the others; only where replicas share.
fn write_replica_metrics(page: &mut MetricsEncoder, view: &ReplicaStatus) {
    let shares = u8::from(view.mode == ReplicaMode::Sharing);
    page.write_metric(
        "resumen_fleet_sharing",
        MetricType::Gauge,
        "Whether calls and readings are shared with replicas.",
        shares,
    );
    let help =
        "Replicas that the shared store saw last, this one included; 0 if it was never reached.";
    page.write_metric(
        "resumen_fleet_replicas",
        MetricType::Gauge,
        help,
        view.replica_count,
    );
    let help = "Leases taken: attempts that this replica made for all.";
    page.write_metric(
        "resumen_fleet_leases_taken_total",
        MetricType::Counter,
        help,
        view.leases_acquired,
    );
    let help = "Leases that were gone when their attempt ended.";
    page.write_metric(
        "resumen_fleet_leases_lost_total",
        MetricType::Counter,
        help,
        view.leases_lost,
    );
    let help = "Attempts of other replicas whose outcome was taken in.";
    page.write_metric(
        "resumen_fleet_outcomes_heard_total",
        MetricType::Counter,
        help,
        view.remote_attempts,
    );
    let ahead = millis_to_seconds(view.clock_offset_ms);
    let help =
        "By how much the shared store's clock is ahead of this replica's; 0 when they agree.";
    page.write_metric(
        "resumen_fleet_clock_ahead_seconds",
        MetricType::Gauge,
        help,
        ahead,
    );
}

fn write_process_metrics(page: &mut MetricsEncoder, vitals: &ProcessMetrics) {
    let errors = "resumen_store_errors_total";
    page.begin_family(
        errors,
        MetricType::Counter,
        "Operations of a store that failed.",
    );
    for (store, errors_of) in [
        ("file", &vitals.file_errors),
        ("redis", &vitals.redis_errors),
    ] {
        page.write_sample(errors, &[("store", store)], errors_of.count());
    }
    let succeeded = u8::from(vitals.did_reload_succeed.load(Relaxed));
    let help = "Whether the configuration was taken when it was last read.";
    page.write_metric(
        "resumen_config_last_reload_successful",
        MetricType::Gauge,
        help,
        succeeded,
    );
    let at = millis_to_seconds(vitals.last_reload_at.load(Relaxed));
    let help = "When a configuration was last taken, since the epoch.";
    page.write_metric(
        "resumen_config_last_reload_success_timestamp_seconds",
        MetricType::Gauge,
        help,
        at,
    );
}
