//! Floor 5: builds it all from a configuration, runs it, reloads it, drains it.
//!
//! Imports everything below. Does not parse arguments.

mod engine;
mod landing;
mod reload;
mod service;

pub use engine::{Engine, Gear};
pub use reload::Reloader;
pub use service::{Service, Start, flight_runtime};
