//! Helpers of the integration tests.

pub mod child_process;
pub mod fake_provider;
pub mod hostile_filters;
pub mod http2_client;
pub mod http2_server;
pub mod http_reply;
pub mod login_server;
pub mod lying_store;
pub mod markdown;
pub mod memory_group;
pub mod monitoring_files;
pub mod network_namespace;
pub mod openapi_document;
pub mod polling_clients;
pub mod process_usage;
pub mod raw_client;
pub mod redis_server;
pub mod replica_cluster;
pub mod requirements;
pub mod scripted_fetch;
pub mod service_process;
pub mod simulated_store;
pub mod source_file;
pub mod source_tree;
pub mod test_app;
pub mod test_browser;
pub mod test_server;
pub mod tls_client;
pub mod wait;

use std::path::Path;

use resumen::domain::Provider;
use resumen::store::{StateFile, StateFileError};

use scripted_fetch::test_provider;
use wait::wait_for;

/// A state file whose write lock this process holds.
pub fn open_claimed_state_file(path: &Path) -> StateFile {
    let file = StateFile::new(path);
    claim_with_retry(&file);
    file
}

/// Acquires the write lock of `file`. Child processes that other tests start inherit every lock and
/// hold it until they execute their program.
pub fn claim_with_retry(file: &StateFile) {
    let is_new = wait_for("the write lock", || match file.acquire_write_lock() {
        Err(StateFileError::Busy(_)) => None,
        other => Some(other.unwrap()),
    });
    assert!(is_new);
}

/// A provider at `url` with default settings.
pub fn default_provider_at(url: &str) -> Provider {
    let mut provider = test_provider("provider");
    provider.request.url = url.parse().unwrap();
    provider
}
