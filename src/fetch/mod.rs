//! Floor 2: one request to one provider. The port, and its implementation over HTTP.
//!
//! Imports `domain` and `clock`. It never retries beyond a connection that was already dead, never caches, and
//! knows nothing of sources' schedules.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Deadline;
use crate::domain::{Failure, Provider};

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

/// Asks a provider once.
pub trait Fetch: Send + Sync + 'static {
    /// Asks `provider` and gives its payload, or why there is none, by `deadline` (name lookup, connection, TLS,
    /// headers, body and decoding included). Dropping the future cancels the request.
    fn fetch(
        &self,
        provider: &Provider,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Payload, FetchError>> + Send;
}
