//! Floor 2: one request to one provider. The port, and its implementation over HTTP.
//!
//! Imports `domain` and `clock`. It never retries beyond a connection that was already dead, never caches, never
//! follows a redirect, never logs, and knows nothing of sources' schedules.
//!
//! It stands on hyper's client connection, not on a ready-made client: a failure's code tells the phase in which it
//! happened, so lookup, connecting, TLS, head and body must be seen apart; the size of a head must be bounded; whether a
//! connection was reused, and whether any byte of an answer had come, decides the one free retry; and the address that
//! is judged must be the very address that is connected to. HTTP/1.1 only, so that one request is one connection and
//! dropping the future ends both: no task outlives a request, except a name lookup, which cannot be cancelled.
//!
//! `http` is one attempt from request to payload. Below it, in the order of an attempt: `request`, `pool`, `connect`
//! (`lookup`, `guard`, `eyeballs`, `paced`, `proxy`, `tls`), `link` (one connection), `head`, `body`. `retry_after`, `guard` and
//! `text` are pure.

mod connector;
mod deadline;
mod happy_eyeballs;
mod http_fetch;
mod ip_policy;
mod pool;
mod proxy;
mod quoted;
mod request;
mod resolver;
mod response_body;
mod response_head;
mod retry_after;
mod throttle;
mod tls;
mod upstream_connection;

pub use http_fetch::HttpFetch;
pub use resolver::ResolveFn;
pub use retry_after::{MAX_RETRY_AFTER, parse_retry_after};

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::{Failure, Provider};
use crate::process::Deadline;

/// A body, decoded, within the provider's `max_body`, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

/// Why a request gave no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// The code and the message, secrets masked.
    pub failure: Failure,
    /// How long the provider asks to be left alone; 15 minutes at most.
    pub retry_after: Option<Duration>,
}

/// A request in progress, as [`Fetch::fetch`] returns it.
pub type FetchFuture<'f> = Pin<Box<dyn Future<Output = Result<Payload, FetchError>> + Send + 'f>>;

/// Asks a provider once.
pub trait Fetch: Send + Sync + 'static {
    /// Asks `provider` and gives its payload, or why there is none, by `deadline` (name lookup, connection, TLS,
    /// headers, body and decoding included). Dropping the future cancels the request.
    fn fetch<'f>(&'f self, provider: &'f Provider, deadline: Deadline) -> FetchFuture<'f>;
}
