//! What integration tests stand on.

pub mod browser;
pub mod client;
pub mod crowd;
pub mod echo;
pub mod fault;
pub mod openapi;
pub mod redis;
pub mod replica;
pub mod scripted;
pub mod served;
pub mod simulated;
pub mod stand;
pub mod stub;

use std::path::Path;
use std::time::Duration;

use resumen::domain::{Name, Provider, Request};
use resumen::store::{StateFile, StoreError};

/// A state file that this process may write.
pub fn claimed(path: &Path) -> StateFile {
    let file = StateFile::new(path);
    claim(&file);
    file
}

/// Waits until this process may write the file: one that another test starts meanwhile holds a copy of every lock until
/// it has become another program.
pub fn claim(file: &StateFile) {
    for _ in 0..500 {
        match file.claim() {
            Err(StoreError::Busy(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return assert!(other.unwrap()),
        }
    }
    panic!("somebody keeps the lock of {}", file.path().display());
}

/// A provider at `url` with every default.
pub fn plain_provider(url: &str) -> Provider {
    Provider {
        name: Name::new("provider").unwrap(),
        extract: ".".into(),
        request: Request {
            url: url.parse().unwrap(),
            method: "GET".into(),
            headers: Vec::new(),
            body: None,
            allow_private: false,
            ca: None,
            proxy: None,
            max_body: 1 << 20,
        },
    }
}
