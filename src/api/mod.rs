//! The HTTP endpoints: routes, handlers and query parameters.
//!
//! `routes` is the one list of endpoints: paths and handlers. `openapi.json` describes them.

mod answer;
mod answer_request;
mod background_work;
mod document_cache;
mod health;
mod metrics_encoder;
mod metrics_page;
mod openapi;
mod panel_pages;
mod query;
mod routes;
mod seconds_pattern;
mod service_collector;
mod shared_pages;
mod shared_renderings;
mod source_health;
mod state;
mod stream;
mod stream_clients;

pub use answer::find_rendering;
pub use routes::{ROUTE_ACCESS, ROUTE_PATHS, router};
pub use state::{AppState, AppStateParts};
