//! What integration tests stand on.

pub mod child_process;
pub mod echo_provider;
pub mod fake_provider;
pub mod faulty_provider;
pub mod markdown;
pub mod monitoring_files;
pub mod openapi_document;
pub mod polling_clients;
pub mod raw_client;
pub mod redis_server;
pub mod replica_cluster;
pub mod scripted_fetch;
pub mod simulated_store;
pub mod source_file;
pub mod source_tree;
pub mod test_app;
pub mod test_browser;
pub mod test_server;

use std::path::Path;
use std::time::Duration;

use resumen::domain::{Name, Provider, ProviderRequest};
use resumen::store::{StateFile, StateFileError};

/// A state file that this process may write.
pub fn open_claimed_state_file(path: &Path) -> StateFile {
    let file = StateFile::new(path);
    claim_with_retry(&file);
    file
}

/// Waits until this process may write the file: one that another test starts meanwhile holds a copy of every lock until
/// it has become another program.
pub fn claim_with_retry(file: &StateFile) {
    for _ in 0..500 {
        match file.acquire_write_lock() {
            Err(StateFileError::Busy(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return assert!(other.unwrap()),
        }
    }
    panic!("somebody keeps the lock of {}", file.path().display());
}

/// A provider at `url` with every default.
pub fn default_provider_at(url: &str) -> Provider {
    Provider {
        name: Name::new("provider").unwrap(),
        extract: ".".into(),
        request: ProviderRequest {
            url: url.parse().unwrap(),
            method: "GET".into(),
            headers: Vec::new(),
            body: None,
            allow_private: false,
            ca_pem: None,
            proxy: None,
            max_body: 1 << 20,
        },
    }
}
