//! The [`Fetch`] trait and its results.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::{Failure, Provider};
use crate::process::Deadline;

/// Decoded response body, at most `max_body` bytes, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

/// Error of a request: the provider's failure, and how long to hold the provider back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// Cause of the failure, with secrets redacted.
    pub failure: Failure,
    /// Time until the next request to the provider, from its `Retry-After`, at most 15 min. `None`
    /// if it sent none.
    pub retry_after: Option<Duration>,
}

/// Future that [`Fetch::fetch`] returns.
pub type FetchFuture<'f> = Pin<Box<dyn Future<Output = Result<Payload, FetchError>> + Send + 'f>>;

/// Sends requests to providers.
pub trait Fetch: Send + Sync + 'static {
    /// Sends the request of `provider` and returns the payload by `deadline`, which covers name
    /// lookup, connection, TLS, headers, body and decoding. Dropping the future cancels the
    /// request.
    fn fetch<'f>(&'f self, provider: &'f Provider, deadline: Deadline) -> FetchFuture<'f>;
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}
