//! Secrets and hostile input.

pub mod access_tokens;
pub mod client_limits;
pub mod fuzz_targets;
pub mod host_names;
pub mod http2_listener;
pub mod reverse_proxies;
pub mod secret_leaks;
pub mod tls_listener;
pub mod token_timing;
