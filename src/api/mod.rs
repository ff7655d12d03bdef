//! The HTTP endpoints: routes, handlers and their query parameters.

mod health;
mod metrics_page;
mod openapi;
mod panel_pages;
mod query;
pub(crate) mod routes;
mod source_health;
mod state;
mod stream;
mod summary;

pub use metrics_page::ProcessMetrics;
pub(crate) use metrics_page::millis_to_seconds;
pub(crate) use query::percent_decode_lossy;
pub(crate) use routes::{ROUTE_LABELS, ROUTE_OPERATIONS, ROUTE_PATHS, UNMATCHED_ROUTE};
pub use state::{AppState, AppStateParts};
