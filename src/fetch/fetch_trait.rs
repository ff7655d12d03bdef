//! The [`Fetch`] trait, its parameters and its results.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use crate::domain::{BodyFormat, Failure, Name, Provider};
use crate::extract::RawBody;
use crate::process::Deadline;

use super::validators::Validators;

/// Response body without its content coding, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The body, at most `max_body` bytes.
    pub body: Bytes,
    /// The charset that `Content-Type` names. `None` if it names none.
    pub charset: Option<Box<str>>,
    /// Values of the `Set-Cookie` headers, those of followed redirects included.
    pub set_cookies: Vec<HeaderValue>,
    /// By what a later request can ask whether the response has changed. `None` if it cannot.
    pub validators: Option<Validators>,
    /// Whether the response has not changed since that of [`FetchContext::validators`] (status 304). The
    /// body is empty then.
    pub is_unchanged: bool,
    /// Time for which the provider should not be called again, at most 1 day: the lifetime of the response, if
    /// the provider's cache headers are obeyed.
    pub lifetime: Option<Duration>,
}

impl Payload {
    /// Returns the body for the extraction of a document of `format`.
    pub fn raw_body(&self, format: &BodyFormat) -> RawBody {
        RawBody {
            bytes: self.body.clone(),
            format: format.clone(),
            charset: self.charset.clone(),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(body: Bytes) -> Self {
        Self {
            body,
            charset: None,
            set_cookies: Vec::new(),
            validators: None,
            is_unchanged: false,
            lifetime: None,
        }
    }
}

/// Error of a request: the provider's failure, and how long to hold the provider back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// Cause of the failure, with secrets redacted.
    pub failure: Failure,
    /// Time until the next request to the provider, from its `Retry-After` or its quota, at most
    /// 15 min. `None` if it sent none.
    pub retry_after: Option<Duration>,
    /// The response that refuses the request or has no body. `None` if there is none, or if its body cannot be used.
    pub refused: Option<Box<RefusedResponse>>,
    /// Whether the deadline passed before the first connection, while the call waited for its permit
    /// (`max_per_host`).
    pub is_permit_timeout: bool,
}

/// A response that refuses a request by its status, or has no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedResponse {
    /// Status code.
    pub status: u16,
    /// Beginning of the body, as text with secrets redacted.
    pub received: Box<str>,
    /// Values of the `Set-Cookie` headers, those of followed redirects included.
    pub set_cookies: Vec<HeaderValue>,
}

/// Whether a live request waits for a call. A call that waits for its permit can become urgent.
/// Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct CallPriority(Arc<AtomicBool>);

impl CallPriority {
    /// Marks the call as one that a live request waits for.
    pub fn mark_urgent(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether a live request waits for the call.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the flag.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// Deadline and priority of one call.
#[derive(Debug, Clone)]
pub struct FetchContext {
    /// End of the call: it covers the wait for a permit, name lookup, connection, TLS, headers, body
    /// and decoding.
    pub deadline: Deadline,
    /// Whether a live request waits for the call. Default: no.
    pub priority: CallPriority,
    /// Validators of the response that the held reading came from. With them, an equal request becomes
    /// conditional. Default: none.
    pub validators: Option<Validators>,
    /// Whether the last evaluation of the source's filter did not end, so that the body may wait long
    /// for the next one. Default: no.
    pub is_filter_endless: bool,
}

impl From<Deadline> for FetchContext {
    fn from(deadline: Deadline) -> Self {
        Self {
            deadline,
            priority: CallPriority::default(),
            validators: None,
            is_filter_endless: false,
        }
    }
}

/// Future that [`Fetch::fetch`] returns.
pub type FetchFuture<'f> = Pin<Box<dyn Future<Output = Result<Payload, FetchError>> + Send + 'f>>;

/// Sends requests to providers.
pub trait Fetch: Send + Sync + 'static {
    /// Sends the request of `provider` and returns the payload by the deadline of `context`.
    /// Dropping the future cancels the request.
    fn fetch<'f>(&'f self, provider: &'f Provider, context: FetchContext) -> FetchFuture<'f>;

    /// Announces that the next call of `source` to `provider` is due at `at`, so that an idle
    /// connection is kept for it. Replaces the previous announcement of the source.
    fn expect_call(&self, _source: &Name, _provider: &Provider, _at: Instant) {}
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
            refused: None,
            is_permit_timeout: false,
        }
    }
}
