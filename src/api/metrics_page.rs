//! `/metrics`: gathers every metric in the text format of Prometheus.
//!
//! Label values come from the configuration and from the code's own lists, so a request can never
//! add a series.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::metrics::{
    MetricType, MetricsEncoder, millis_to_seconds, write_source_metrics, write_task_metrics,
};
use crate::replicas::{ReplicaMode, ReplicaStatus};
use crate::server::no_store_response;

use super::state::AppState;

/// The page of metrics.
pub(super) async fn get_metrics(State(state): State<Arc<AppState>>) -> Response {
    let mut encoder = MetricsEncoder::default();
    // One snapshot for all families, so that they agree with each other.
    let snapshot = state.server.cache.snapshot();
    write_source_metrics(&mut encoder, &snapshot, state.server.clock.now());
    state.fetch_metrics.write(&mut encoder, &snapshot);
    state.server.request_metrics.write(&mut encoder);
    encoder.write_metric(
        "resumen_stream_clients",
        MetricType::Gauge,
        "Clients of the event stream.",
        state.stream_clients.count(),
    );
    if let Some(replica) = &state.replica {
        write_replica_metrics(&mut encoder, &replica.status());
    }
    write_task_metrics(&mut encoder, &state.server.supervisor);
    state.process_metrics.write(&mut encoder);
    no_store_response(
        "text/plain; version=0.0.4; charset=utf-8",
        encoder.into_text(),
    )
}

/// Writes the families of a replica that shares readings with others.
fn write_replica_metrics(encoder: &mut MetricsEncoder, status: &ReplicaStatus) {
    encoder.write_metric(
        "resumen_fleet_sharing",
        MetricType::Gauge,
        "Whether calls and readings are shared with other replicas.",
        u8::from(status.mode == ReplicaMode::Sharing),
    );
    encoder.write_metric(
        "resumen_fleet_replicas",
        MetricType::Gauge,
        "Replicas seen last in the shared store, including this one; 0 if it was never reached.",
        status.replica_count,
    );
    encoder.write_metric(
        "resumen_fleet_leases_taken_total",
        MetricType::Counter,
        "Leases acquired: attempts that this replica made for all replicas.",
        status.leases_acquired,
    );
    encoder.write_metric(
        "resumen_fleet_leases_lost_total",
        MetricType::Counter,
        "Leases that expired before their attempt ended.",
        status.leases_lost,
    );
    encoder.write_metric(
        "resumen_fleet_outcomes_heard_total",
        MetricType::Counter,
        "Outcomes of other replicas' attempts that were merged.",
        status.remote_attempts,
    );
    encoder.write_metric(
        "resumen_fleet_clock_ahead_seconds",
        MetricType::Gauge,
        "Shared store's clock minus this replica's clock.",
        millis_to_seconds(status.clock_offset_ms),
    );
}
