//! Several replicas that share one Redis.

pub mod cluster_simulation;
pub mod hostile_values;
pub mod lease_faults;
pub mod network_partition;
pub mod redis_outage;
pub mod redis_tls;
pub mod replica_sharing;
