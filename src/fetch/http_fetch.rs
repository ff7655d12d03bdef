//! [`Fetch`] over HTTP/1.1 and HTTP/2: a permit, a request, a response head and a body, under one
//! deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{StatusCode, Version};
use reqwest::Body;
use tokio::time::Instant;

use crate::domain::{Code, DEFAULT_MAX_PER_HOST, Failure, Name, Provider, Redactor, RequestTime};
use crate::process::{Clock, Deadline};

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
use super::{refusal, request, response_head};

/// Maximum size of the beginning of a refused response's body, in bytes.
const MAX_REFUSAL_BYTES: u64 = 16 * 1024;

/// Maximum time to wait for the body of a refused response. It only adds the reason to the failure,
/// which the status already determines.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(250);

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
        let now = self.clock.wall_time();
        let failure = response_head::status_failure(head.status, &head.headers, now);
        if let Some(failure) = failure.filter(|_| !is_accepted) {
            let received = self.read_refused_body(&head, body, ends_at, deadline).await;
            let note = refusal::refusal_note(
                failure.code,
                head.status,
                &head.headers,
                &provider.request,
                &received,
                &self.redactor,
            );
            // Redacted as a whole: it is cut and escaped later.
            let received = Some(self.redactor.redact(&received).into_boxed_str())
                .filter(|received| !received.is_empty());
            return Err(response_head::build_fetch_error(
                &failure,
                &note,
                received,
                &head.headers,
                now,
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

    /// Returns what arrives in time of the beginning of a refused response's body, as text.
    async fn read_refused_body(
        &self,
        head: &Parts,
        body: Body,
        ends_at: Option<u64>,
        deadline: Deadline,
    ) -> String {
        let mut beginning = BytesMut::new();
        let mut is_whole = false;
        // A body in an unknown coding is not read.
        if let Ok(coding) = response_head::parse_content_coding(&head.headers) {
            let counter = ByteCounter::default();
            let limit = MAX_REFUSAL_BYTES;
            let read = BodyReader::new(body, head.version, ends_at, &counter, limit)
                .read_beginning(coding, limit, &mut beginning);
            // At most half of the time that is left, so that the failure of the status is told in time.
            let left = deadline.at.saturating_duration_since(self.clock.instant());
            let ended = tokio::time::timeout(REFUSAL_TIMEOUT.min(left / 2), read).await;
            is_whole = ended.unwrap_or(false);
        }
        let charset = response_head::content_charset(&head.headers);
        let text = refusal::decode_lossy(&beginning, charset.as_deref());
        if is_whole {
            text
        } else {
            self.redactor.redact_beginning(&text)
        }
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
