//! The HTTP server: listener, acceptor, workers, connection deadlines, request validation and the
//! fast path of `GET /resumen`.
//!
//! The server knows no routes: `app` passes the router of `api` and the [`ServerContext`] to
//! [`HttpServer::start`].
//!
//! A connection's way: `listener` → `acceptor` (`early_refusal` while every place is taken) → `worker`
//! (`accept_queue`, deadlines) → `connection` → `fast_path`, then `service` (`validate`, the router) on hyper
//! for the rest of the connection.

mod accept;
mod accept_queue;
mod acceptor;
mod access_control;
mod access_record;
mod client_limit;
mod client_stream;
mod coarse_clock;
mod connection;
mod connection_phase;
mod connection_places;
mod connection_state;
mod cors;
mod descriptor_limit;
mod early_refusal;
mod encoding;
mod eviction;
mod fast_path;
mod framing;
mod health_probe;
mod host_policy;
mod http2_body;
mod http2_streams;
mod http_server;
mod kernel_buffers;
mod listener;
mod problem;
mod response;
mod route_access;
mod server_context;
mod service;
mod socket;
mod tls;
mod tls_socket;
mod trusted_proxies;
mod unix_socket;
mod validate;
mod worker;
mod worker_state;
mod write_stall;

pub(crate) use accept::{is_media_type_named, media_preference};
pub(crate) use access_control::AccessGrant;
pub(crate) use connection_state::ConnectionState;
pub use health_probe::probe_health;
pub use http_server::{HttpListeners, HttpServer};
pub use listener::HttpListener;
pub(crate) use problem::{ALLOWED_METHODS, ProblemDetails, ProblemKind};
pub(crate) use response::{
    matches_etag, missing_coding, missing_form, no_store_response, respond_with_rendering,
    select_form, set_content_encoding,
};
pub(crate) use route_access::{DATA_GROUPS, SNAPSHOT_GROUPS};
pub use route_access::{ListenerScope, RouteAccess};
pub use server_context::{FindRenderingFn, ServerContext};
pub use unix_socket::SocketFile;
