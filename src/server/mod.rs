//! The HTTP server: listening socket, connections, deadlines and the fast path of `GET /resumen`.

mod accept_queue;
mod acceptor;
mod connection_state;
mod cors;
mod descriptor_limit;
mod encoding;
mod fast_path;
mod framing;
mod listener;
mod panic;
mod problem;
mod representation;
mod service;
mod small_response;
mod socket;
mod validate;
mod worker;

pub use acceptor::HttpServer;
pub(crate) use connection_state::ConnectionState;
pub(crate) use cors::CorsPolicy;
pub use listener::HttpListener;
pub(crate) use problem::{ALLOWED_METHODS, ProblemDetails, ProblemKind};
pub(crate) use representation::{
    matches_etag, respond_with_rendering, select_form, set_content_encoding,
};
pub(crate) use small_response::no_store_response;
pub(crate) use validate::is_host;
