//! resumen: one fast, honest answer from many slow, unreliable APIs.

pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod derive;
pub mod domain;
pub mod extract;
pub mod fetch;
pub mod flight;
pub mod http;
pub mod live;
pub mod refresh;
pub mod render;
pub mod save;
pub mod shutdown;
pub mod simulator;
pub mod store;
pub mod telemetry;
