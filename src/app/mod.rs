//! Floor 5: builds it all from a configuration, runs it, reloads it, drains it.
//!
//! Imports everything below. Does not parse arguments.

mod core;
mod reload;
mod server;

pub use core::{AppCore, CoreDeps};
pub use reload::ConfigReloader;
pub use server::{AppService, ServiceOptions};
