//! Secrets, malicious input and the threat model.

pub mod fuzz_targets;
pub mod reverse_proxies;
pub mod secret_leaks;
pub mod threat_model_docs;
