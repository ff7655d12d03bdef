//! Floor 5: builds it all from a configuration, runs it, reloads it, drains it.
//!
//! Imports everything below. Does not parse arguments.

mod engine;
mod landing;
mod reload;
mod service;

pub use engine::{AppCore, CoreDeps};
pub use reload::ConfigReloader;
pub use service::{AppService, ServiceOptions, build_flight_runtime};
