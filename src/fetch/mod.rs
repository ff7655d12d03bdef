//! One request to one provider: the [`Fetch`] trait and its implementation on reqwest.
//!
//! The module sends a request, bounds and decodes the answer, and gives every failure a code. It caches nothing,
//! follows no redirect, logs nothing, and repeats a request only once, when a kept connection turns out to be closed.
//!
//! An attempt passes through these files in order:
//!
//! | file | step |
//! |---|---|
//! | `http_fetch` | runs the attempt; redacts its failure |
//! | `request` | writes the request |
//! | `call_limiter` | waits for one of `max_per_host` places at the host and port |
//! | `endpoints` | selects the client; closes idle connections |
//! | `client` | builds a client for a set of connection settings |
//! | `connector` | looks up names, enforces the address policy, notes the phase |
//! | `exchange` | sends one request on one client and waits for the head of the answer |
//! | `response_head`, `response_body` | check the head; read and decode the body |
//! | `transport_error`, `tls` | give the errors of reqwest, hyper, h2 and rustls a code |
//!
//! Connections run on a runtime of their own (`connection_runtime`). A provider that floods a connection keeps a thread
//! of that runtime busy, never one that runs deadlines.

mod call_limiter;
mod client;
mod connection_runtime;
mod connector;
mod deadline;
mod endpoints;
mod exchange;
mod http_fetch;
mod ip_policy;
mod quoted;
mod request;
mod resolver;
mod response_body;
mod response_head;
mod retry_after;
mod tls;
mod trace;
mod transport_error;

pub use call_limiter::DEFAULT_MAX_PER_HOST;
pub use client::Endpoint;
pub use http_fetch::HttpFetch;
pub use resolver::ResolveFn;
pub use retry_after::{MAX_RETRY_AFTER, parse_retry_after};

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::domain::{Failure, Name, Provider};
use crate::process::Deadline;

/// The decoded body of an answer, within the provider's `max_body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

/// Why a request gave no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// The code and the message, secrets redacted.
    pub failure: Failure,
    /// The pause that the provider asks for; 15 minutes at most.
    pub retry_after: Option<Duration>,
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}

/// Whether a live request waits for a call. A call that waits for its place at a host may become urgent meanwhile.
/// Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct CallPriority(Arc<AtomicBool>);

impl CallPriority {
    /// Marks the call as one that a live request waits for.
    pub fn mark_urgent(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a live request waits for the call.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// The circumstances of one call.
#[derive(Debug, Clone)]
pub struct FetchContext {
    /// When the call ends at the latest: waiting, name lookup, connection, TLS, headers, body and decoding included.
    pub deadline: Deadline,
    /// Whether a live request waits for the call. Default: no.
    pub priority: CallPriority,
}

impl From<Deadline> for FetchContext {
    fn from(deadline: Deadline) -> Self {
        Self {
            deadline,
            priority: CallPriority::default(),
        }
    }
}

/// A request in progress, as [`Fetch::fetch`] returns it.
pub type FetchFuture<'f> = Pin<Box<dyn Future<Output = Result<Payload, FetchError>> + Send + 'f>>;

/// Calls providers.
pub trait Fetch: Send + Sync + 'static {
    /// Calls `provider` once and returns its payload, or why there is none. Dropping the future cancels the call.
    fn fetch<'f>(&'f self, provider: &'f Provider, context: FetchContext) -> FetchFuture<'f>;

    /// Notes that the next call of `source` is due at `at`, so that an idle connection to `provider` is kept for it.
    /// Replaces what was noted before for the same source.
    fn expect_call(&self, _source: &Name, _provider: &Provider, _at: Instant) {}
}
