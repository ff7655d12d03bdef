//! `/metrics`: everything that is counted or known, as Prometheus reads it. Labels come from the configuration and from
//! the code's own lists, so that no request can add a series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use axum::extract::State;
use axum::response::Response;

use crate::domain::Time;
use crate::fetch::Fetch;
use crate::fleet::{Role, View};
use crate::supervise::Supervisor;

use super::counters::BOUNDS;
use super::exposition::{Page, Type};
use super::routes::LABELS;
use super::whole::whole;
use super::{Site, process, source_metrics};

/// The stores that can fail.
const STORES: [&str; 2] = ["file", "redis"];

/// What the rest of the program tells of itself. Written by whoever it happens to, read by `/metrics`.
#[derive(Debug)]
pub struct Vitals {
    /// The commit that this program was built from, or nothing.
    pub revision: &'static str,
    store_errors: [AtomicU64; STORES.len()],
    reload_succeeded: AtomicBool,
    reloaded_at: AtomicI64,
}

impl Vitals {
    /// Of a program that read its configuration at `now`.
    pub fn new(now: Time, revision: &'static str) -> Self {
        Self {
            revision,
            store_errors: Default::default(),
            reload_succeeded: AtomicBool::new(true),
            reloaded_at: AtomicI64::new(now.as_millis()),
        }
    }

    /// An operation of a store (`file` or `redis`) failed.
    pub fn store_failed(&self, store: &str) {
        if let Some(at) = STORES.into_iter().position(|known| known == store) {
            self.store_errors[at].fetch_add(1, Relaxed);
        }
    }

    /// A reload ended: at this instant, or refused.
    pub fn reloaded(&self, at: Option<Time>) {
        self.reload_succeeded.store(at.is_some(), Relaxed);
        if let Some(at) = at {
            self.reloaded_at.store(at.as_millis(), Relaxed);
        }
    }
}

/// The page.
pub(super) async fn answer<F: Fetch>(State(site): State<Arc<Site<F>>>) -> Response {
    let mut page = Page::default();
    page.family("resumen_build_info", Type::Gauge, "What was built.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", site.vitals.revision),
    ];
    page.sample("resumen_build_info", &labels, 1);
    source_metrics::write(
        &mut page,
        &site.cache.snapshot(),
        &site.fetches,
        site.clock.now(),
    );
    serving(&mut page, &site);
    vitals(&mut page, &site.vitals);
    tasks(&mut page, &site.supervisor);
    if let Some(fleet) = &site.fleet {
        sharing(&mut page, &fleet.view());
    }
    process::write(&mut page, seconds(site.started.as_millis()));
    whole("text/plain; version=0.0.4; charset=utf-8", page.into_text())
}

/// Milliseconds as seconds.
pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

fn serving<F: Fetch>(page: &mut Page, site: &Site<F>) {
    let sums: Vec<_> = LABELS
        .iter()
        .enumerate()
        .map(|(at, label)| (*label, site.counters.sums(at)))
        .collect();
    let requests = "resumen_http_requests_total";
    page.family(
        requests,
        Type::Counter,
        "Answers by route and class of status.",
    );
    for (route, sums) in &sums {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .into_iter()
            .zip(sums.classes)
            .skip(1)
        {
            page.sample(requests, &[("route", route), ("status", class)], count);
        }
    }
    let durations = "resumen_http_request_duration_seconds";
    page.family(
        durations,
        Type::Histogram,
        "From the end of a request's head to the head of its answer.",
    );
    for (route, sums) in &sums {
        page.histogram(
            durations,
            ("route", route),
            &BOUNDS,
            &sums.buckets,
            sums.micros,
        );
    }
    let connections = site.counters.connections();
    page.single(
        "resumen_http_connections",
        Type::Gauge,
        "Connections open now.",
        connections,
    );
    page.single(
        "resumen_stream_clients",
        Type::Gauge,
        "Clients of the stream.",
        site.streams.count(),
    );
}

fn tasks(page: &mut Page, supervisor: &Supervisor) {
    let restarts = "resumen_task_restarts_total";
    page.family(
        restarts,
        Type::Counter,
        "Tasks of the program itself that stopped by themselves and were started again.",
    );
    for (task, count) in supervisor.restarts() {
        page.sample(restarts, &[("task", task)], count);
    }
    page.single(
        "resumen_tasks",
        Type::Gauge,
        "Tasks beside the serving threads now.",
        supervisor.alive(),
    );
}

/// How this replica stands to the others; only where replicas share.
fn sharing(page: &mut Page, view: &View) {
    let shares = u8::from(view.role == Role::Sharing);
    page.single(
        "resumen_fleet_sharing",
        Type::Gauge,
        "Whether calls and readings are shared with replicas.",
        shares,
    );
    let help =
        "Replicas that the shared store saw last, this one included; 0 if it was never reached.";
    page.single("resumen_fleet_replicas", Type::Gauge, help, view.replicas);
    let help = "Leases taken: attempts that this replica made for all.";
    page.single(
        "resumen_fleet_leases_taken_total",
        Type::Counter,
        help,
        view.taken,
    );
    let help = "Leases that were gone when their attempt ended.";
    page.single(
        "resumen_fleet_leases_lost_total",
        Type::Counter,
        help,
        view.lost,
    );
    let help = "Attempts of other replicas whose outcome was taken in.";
    page.single(
        "resumen_fleet_outcomes_heard_total",
        Type::Counter,
        help,
        view.heard,
    );
    let ahead = seconds(view.skew_ms);
    let help =
        "By how much the shared store's clock is ahead of this replica's; 0 when they agree.";
    page.single(
        "resumen_fleet_clock_ahead_seconds",
        Type::Gauge,
        help,
        ahead,
    );
}

fn vitals(page: &mut Page, vitals: &Vitals) {
    let errors = "resumen_store_errors_total";
    page.family(errors, Type::Counter, "Operations of a store that failed.");
    for (store, count) in STORES.into_iter().zip(&vitals.store_errors) {
        page.sample(errors, &[("store", store)], count.load(Relaxed));
    }
    let succeeded = u8::from(vitals.reload_succeeded.load(Relaxed));
    let help = "Whether the configuration was taken when it was last read.";
    page.single(
        "resumen_config_last_reload_successful",
        Type::Gauge,
        help,
        succeeded,
    );
    let at = seconds(vitals.reloaded_at.load(Relaxed));
    let help = "When a configuration was last taken, since the epoch.";
    page.single(
        "resumen_config_last_reload_success_timestamp_seconds",
        Type::Gauge,
        help,
        at,
    );
}
