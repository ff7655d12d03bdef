//! The metrics that are read from the state of the service.
//!
//! Label values come from the configuration and from the code's own lists, so a request can never
//! add a series.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::{
    FetchMetrics, OwnSeries, SourceNumbers, millis_to_seconds, write_counter, write_gauge,
    write_source_metrics, write_task_metrics,
};
use crate::replicas::{LocalReplica, ReplicaMode, ReplicaStatus};
use crate::server::ServerContext;

use super::stream_clients::StreamClients;

/// Reads the state of the service on each scrape: sources, attempts, streams, replica and tasks.
pub(super) struct ServiceCollector {
    pub(super) server: Arc<ServerContext>,
    pub(super) fetch_metrics: Arc<FetchMetrics>,
    pub(super) source_numbers: Arc<SourceNumbers>,
    pub(super) own_series: Arc<OwnSeries>,
    pub(super) stream_clients: StreamClients,
    pub(super) replica: Option<Arc<LocalReplica>>,
}

impl Collector for ServiceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        // One snapshot for all families, so that they agree with each other.
        let snapshot = self.server.cache.snapshot();
        let now = self.server.clock.now();
        let numbers = &self.source_numbers;
        write_source_metrics(encoder, &snapshot, numbers, &self.own_series, now)?;
        self.fetch_metrics.write(encoder, &snapshot)?;
        write_gauge(
            encoder,
            "resumen_stream_clients",
            "Clients of the event stream.",
            self.stream_clients.count(),
        )?;
        if let Some(replica) = &self.replica {
            write_replica_metrics(encoder, &replica.status())?;
        }
        write_task_metrics(encoder, &self.server.supervisor)
    }
}

impl fmt::Debug for ServiceCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceCollector").finish_non_exhaustive()
    }
}

/// Writes the families of a replica that shares readings with others.
fn write_replica_metrics(
    encoder: &mut DescriptorEncoder<'_>,
    status: &ReplicaStatus,
) -> fmt::Result {
    write_gauge(
        encoder,
        "resumen_fleet_sharing",
        "Whether calls and readings are shared with other replicas.",
        u32::from(status.mode == ReplicaMode::Sharing),
    )?;
    write_gauge(
        encoder,
        "resumen_fleet_replicas",
        "Replicas seen last in the shared store, including this one; 0 if it was never reached.",
        status.replica_count,
    )?;
    write_counter(
        encoder,
        "resumen_fleet_leases_taken",
        "Leases acquired: attempts that this replica made for all replicas.",
        status.leases_acquired,
    )?;
    write_counter(
        encoder,
        "resumen_fleet_leases_lost",
        "Leases that expired before their attempt ended.",
        status.leases_lost,
    )?;
    write_counter(
        encoder,
        "resumen_fleet_outcomes_heard",
        "Outcomes of other replicas' attempts that were merged.",
        status.remote_attempts,
    )?;
    write_gauge(
        encoder,
        "resumen_fleet_clock_ahead_seconds",
        "Shared store's clock minus this replica's clock.",
        millis_to_seconds(status.clock_offset_ms),
    )
}
