//! What integration tests stand on.

pub mod browser;
pub mod client;
pub mod crowd;
pub mod fault;
pub mod scripted;
pub mod served;
pub mod stand;
pub mod stub;

use resumen::domain::{Name, Provider, Request};

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
