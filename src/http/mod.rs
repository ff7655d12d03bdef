//! Floor 4: accept loop, guards, routes, representations, stream, metrics, panel, `/openapi.json`.
//!
//! Imports everything below it. A request walks `server` (accept) → `worker` (its thread) → `connection` (bytes and
//! deadlines) → `express` (plain requests for `/resumen`, to the end of the way) or the HTTP library → `guard` → `front` (the exact `/resumen`) or `routes` → back through `front`, which adds what every
//! answer has. Names neither reqwest nor redis, and never writes to the snapshot.

mod connection;
mod cors;
mod counters;
mod descriptors;
mod encoding;
mod exposition;
mod express;
mod front;
mod fuentes;
mod guard;
mod io;
mod lines;
mod listen;
mod lobby;
mod metrics;
mod numbers;
mod openapi;
mod panel;
mod plain;
mod problem;
mod process;
mod query;
mod representation;
mod rescue;
mod resumen;
mod routes;
mod salud;
mod server;
mod site;
mod source_metrics;
mod stream;
mod suggest;
mod whole;
mod worker;

pub use listen::HttpListener;
pub use metrics::ProcessMetrics;
pub use server::HttpServer;
pub use site::{AppState, AppStateParts};
pub use source_metrics::FetchMetrics;
