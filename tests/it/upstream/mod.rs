//! Providers: what they answer, how they fail, and what the connections to them do.

pub mod conditional_requests;
pub mod connection_reuse;
pub mod egress_proxy;
pub mod fetch_bounds;
pub mod fetch_faults;
pub mod filter_attacks;
pub mod filter_crowd;
pub mod filter_jq;
pub mod filter_processes;
pub mod filter_workers;
pub mod format_corpus;
pub mod format_service;
pub mod host_limits;
pub mod http2_provider;
pub mod login_sessions;
pub mod network_faults;
pub mod number_limits;
pub mod oauth2_server;
pub mod odd_servers;
pub mod outgoing_requests;
pub mod provider_race;
pub mod repeated_requests;
pub mod service_faults;
mod tls_settings;
