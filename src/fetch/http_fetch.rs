//! [`Fetch`] over HTTP/1.1 and HTTP/2: a permit, a request, a response head and a body, under one
//! deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};
use reqwest::Body;
use serde::Deserialize;
use tokio::time::Instant;

use crate::domain::{Code, DEFAULT_MAX_PER_HOST, Failure, Name, Provider, Redactor, RequestTime};
use crate::process::{Clock, Deadline};
use crate::text::escape_bounded;

use super::call_limiter::{CallLimiter, CallPermit};
use super::client::{CallTarget, ClientFactory, Endpoint};
use super::connection_runtime::ConnectionRuntime;
use super::deadline::{self, ByteCounter, FetchPhase, run_until_deadline};
use super::endpoints::Endpoints;
use super::exchange::{Answer, exchange};
use super::fetch_trait::{Fetch, FetchContext, FetchError, FetchFuture, Payload};
use super::resolver::{self, NameResolver, ResolveFn};
use super::response_body::BodyReader;
use super::tls::TlsClient;
use super::{request, response_head};

/// Maximum size of an error response body to read, in bytes.
const MAX_PROBLEM_BYTES: u64 = 8 * 1024;

/// Maximum number of characters of a quoted title, after escaping.
const MAX_QUOTE_CHARS: usize = 120;

/// Maximum time to wait for an error response body. It only adds a title to the failure, which the
/// status already determines.
const PROBLEM_TIMEOUT: Duration = Duration::from_millis(100);

/// HTTP client for requests to providers. The process has one, so that requests share pooled
/// connections, TLS sessions and name lookups.
pub struct HttpFetch {
    endpoints: Arc<Endpoints>,
    max_per_host: Arc<AtomicUsize>,
    redactor: Redactor,
    clock: Clock,
    /// Declared last: the clients must drop their connections before the runtime ends.
    connections: ConnectionRuntime,
}

/// The quoted part of a problem details body (RFC 9457).
#[derive(Deserialize)]
struct ProblemTitle {
    title: Option<String>,
}

impl HttpFetch {
    /// Returns a client with the system's name resolver. Its failure messages pass through
    /// `redactor`.
    pub fn new(clock: Clock, redactor: Redactor) -> Self {
        Self::with_resolver(clock, redactor, resolver::system_resolver())
    }

    /// Returns a client with another name resolver.
    pub fn with_resolver(clock: Clock, redactor: Redactor, resolve: ResolveFn) -> Self {
        let connections = ConnectionRuntime::start();
        let max_per_host = Arc::new(AtomicUsize::new(DEFAULT_MAX_PER_HOST));
        let factory = ClientFactory {
            resolver: NameResolver::new(resolve),
            tls: TlsClient::default(),
        };
        let endpoints = Arc::new(Endpoints::new(factory, clock, Arc::clone(&max_per_host)));
        connections.handle().spawn(endpoints.close_idle_clients());
        Self {
            endpoints,
            max_per_host,
            redactor,
            clock,
            connections,
        }
    }

    /// Sets the maximum number of concurrent calls to one host and port, at least 1.
    pub fn set_max_per_host(&self, limit: usize) {
        self.max_per_host.store(limit, Ordering::Relaxed);
    }

    async fn run_attempt(
        &self,
        provider: &Provider,
        context: &FetchContext,
    ) -> Result<Payload, FetchError> {
        let deadline = context.deadline;
        let is_repeatable = request::is_repeatable(&provider.request);
        // What fails without the network fails before the permit, for which other calls wait.
        let target = CallTarget::from_request(&provider.request, deadline.limit, is_repeatable)?;
        let endpoint = self.endpoints.state(&target.endpoint);
        let _permit = acquire_permit(&endpoint.limiter, &target, context).await?;
        // One repetition suffices: no idle connection is left after the first one.
        let mut may_retry = is_repeatable;
        loop {
            let time = RequestTime {
                now: self.clock.wall_time(),
                time_zone: provider.request.time_zone.as_deref(),
            };
            let request = request::build_request(&provider.request, time)?;
            let lease = self.endpoints.lease_client(&endpoint, &target.settings)?;
            let runtime = self.connections.handle();
            let (ended, is_kept, is_retryable) =
                match exchange(runtime, &lease, &target, request, deadline).await {
                    Ok(answer) => {
                        let is_kept = answer.is_on_kept_connection;
                        let is_retryable = is_kept && is_idle_timeout_response(&answer.head);
                        let payload = self.read_payload(answer, provider, deadline).await;
                        (payload, is_kept, is_retryable)
                    }
                    Err(error) => {
                        let is_kept = error.is_on_kept_connection;
                        let is_retryable = is_kept && error.failure.code == Code::ConnectionClosed;
                        (Err(error.failure.into()), is_kept, is_retryable)
                    }
                };
            let Err(error) = ended else { return ended };
            // A broken route affects all pooled connections, and an HTTP/2 connection that a peer
            // floods stays open as long as its client.
            if is_in_doubt(error.failure.code) || (is_kept && is_retryable) {
                lease.discard_client();
            }
            if !(may_retry && is_retryable) {
                return Err(error);
            }
            may_retry = false;
        }
    }

    async fn read_payload(
        &self,
        answer: Answer,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Payload, FetchError> {
        let Answer { head, body, .. } = answer;
        // The framing first: with a wrong one, neither the status nor the body can be trusted.
        let ends_at = response_head::check_head(&head)?;
        let is_accepted = provider
            .request
            .accept_status
            .contains(&head.status.as_u16());
        let failure = response_head::status_failure(head.status, &head.headers);
        if let Some(failure) = failure.filter(|_| !is_accepted) {
            let title = self.read_problem_title(&head, body, deadline).await;
            return Err(response_head::build_fetch_error(
                &failure,
                title.as_deref(),
                &head.headers,
                self.clock.wall_time(),
            ));
        }
        let coding = response_head::parse_content_coding(&head.headers)?;
        let counter = ByteCounter::default();
        let limit = provider.request.max_body;
        let read = BodyReader::new(body, head.version, ends_at, &counter, limit)
            .read_decoded(coding, limit);
        let late = || FetchPhase::Body.timeout_failure(deadline, false, counter.bytes());
        Ok(Payload {
            body: run_until_deadline(deadline, late, read).await?,
            charset: response_head::content_charset(&head.headers),
        })
    }

    /// Returns the title of an error response's problem details, redacted, escaped and cut; `None`
    /// if there are none or they do not arrive in time.
    async fn read_problem_title(
        &self,
        head: &Parts,
        body: Body,
        deadline: Deadline,
    ) -> Option<String> {
        if !is_problem_details(&head.headers) {
            return None;
        }
        let coding = response_head::parse_content_coding(&head.headers).ok()?;
        let counter = ByteCounter::default();
        let read = BodyReader::new(body, head.version, None, &counter, MAX_PROBLEM_BYTES)
            .read_decoded(coding, MAX_PROBLEM_BYTES);
        // At most half of the time that is left, so that the failure of the status is told in time.
        let left = deadline.at.saturating_duration_since(self.clock.instant());
        let bytes = tokio::time::timeout(PROBLEM_TIMEOUT.min(left / 2), read)
            .await
            .ok()?
            .ok()?;
        let title = serde_json::from_slice::<ProblemTitle>(&bytes).ok()?.title?;
        // Redacted first: an escaped or cut secret would not be recognised.
        Some(escape_bounded(
            &self.redactor.redact(&title),
            MAX_QUOTE_CHARS,
        ))
    }
}

impl Fetch for HttpFetch {
    fn fetch<'f>(&'f self, provider: &'f Provider, context: FetchContext) -> FetchFuture<'f> {
        Box::pin(async move {
            let mut result = self.run_attempt(provider, &context).await;
            if let Err(FetchError { failure, .. }) = &mut result {
                // The only way out of this module: a provider's text may repeat a secret of the
                // request.
                failure.message = self.redactor.redact(&failure.message).into();
            }
            result
        })
    }

    fn expect_call(&self, source: &Name, provider: &Provider, at: Instant) {
        if let Some(endpoint) = Endpoint::from_url(&provider.request.url) {
            self.endpoints.expect_call(source, &endpoint, at);
        }
    }
}

/// Waits for the permit of a call.
async fn acquire_permit(
    limiter: &Arc<CallLimiter>,
    target: &CallTarget,
    context: &FetchContext,
) -> Result<CallPermit, Failure> {
    let may_share = target.settings.may_share();
    let acquired = async { Ok(limiter.acquire(&context.priority, may_share).await) };
    let late = || -> Failure {
        let (limit, host) = (limiter.limit(), &target.endpoint.host);
        let activity = format!("waiting for one of {limit} calls to {host}");
        deadline::timeout_failure(Code::Timeout, context.deadline, &activity)
    };
    let permit = run_until_deadline(context.deadline, late, acquired).await?;
    // Calls that start together end together: a permit can become free exactly at the deadline.
    if context.deadline.has_passed() {
        return Err(late());
    }
    Ok(permit)
}

fn is_problem_details(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        kind.to_ascii_lowercase()
            .starts_with("application/problem+json")
    })
}

/// Returns whether a connection must not be reused after a call on it failed with `code`.
fn is_in_doubt(code: Code) -> bool {
    matches!(
        code,
        Code::Timeout
            | Code::ConnectionClosed
            | Code::HttpProtocol
            | Code::BodyTruncated
            | Code::BodyTooLarge
            | Code::TlsFailed
    )
}

/// Returns whether a response closes an idle connection (408 with `Connection: close`, RFC 9110,
/// section 15.5.9) instead of responding to the request, which was sent at the same time.
fn is_idle_timeout_response(head: &Parts) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    head.status == StatusCode::REQUEST_TIMEOUT
        && head.version < Version::HTTP_2
        && head.headers.get(CONNECTION).is_some_and(closes)
        && !head.headers.contains_key(RETRY_AFTER)
}
