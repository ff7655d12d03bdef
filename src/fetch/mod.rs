//! Requests to providers: the [`Fetch`] trait and its implementation over HTTP/1.1.
//!
//! A request has no retries except one on a pooled connection that was already dead. Redirects are
//! not followed, responses are not cached, and nothing is logged.
//!
//! [`HttpFetch`] uses hyper's client connection instead of a complete client for four reasons:
//! - The code of a failure depends on its phase, so lookup, connect, TLS, head and body are
//!   separate steps.
//! - The size of a response head is limited.
//! - The one retry depends on whether the connection was reused and whether a byte of the response
//!   arrived.
//! - The address policy must check the very address that is connected to.
//!
//! With HTTP/1.1, one request uses one connection, and dropping the future closes it. Only a name
//! lookup outlives its request: it cannot be cancelled.
//!
//! Order of a request: `request` (build), `pool` (reuse), `connector` with `resolver`, `ip_policy`,
//! `happy_eyeballs`, `proxy` and `tls` (connect), `upstream_connection` with `throttle` (send),
//! `response_head` and `response_body` (read). `deadline` limits each phase.

mod connect_target;
mod connector;
mod credentials;
mod deadline;
mod fetch_trait;
mod happy_eyeballs;
mod http_fetch;
mod ip_policy;
mod pool;
mod proxy;
mod request;
mod resolver;
mod response_body;
mod response_head;
mod retry_after;
mod throttle;
mod tls;
mod upstream_connection;

pub use fetch_trait::{Fetch, FetchError, FetchFuture, Payload};
pub use http_fetch::HttpFetch;
pub use resolver::ResolveFn;
pub use retry_after::parse_retry_after;
