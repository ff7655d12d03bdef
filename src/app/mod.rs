//! Floor 5: builds it all from a configuration, runs it, reloads it, drains it.
//!
//! Imports everything below. Does not parse arguments.

mod engine;
mod reload;
mod service;
mod supervise;

pub use engine::{Engine, Gear};
pub use service::{Service, Start, flight_runtime};
pub use supervise::supervise;
