//! Wiring and lifecycle: builds the service from a configuration, starts it, reloads it, drains it.
//!
//! `core` is everything behind the sockets, `server` adds the sockets, `reload` applies another
//! configuration to a running service. Arguments are parsed in `cli`.

mod core;
mod reload;
mod server;

pub use core::{AppCore, CoreDeps};
pub use reload::ConfigReloader;
pub use server::{AppService, ServiceOptions};
