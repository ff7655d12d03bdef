//! [`Fetch`] over HTTP/1.1 and HTTP/2: a permit, a request, a response head and a body, under one
//! deadline.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderValue, StatusCode};
use reqwest::Body;
use tokio::time::Instant;

use crate::domain::{Code, DEFAULT_MAX_PER_HOST, Name, Provider, Redactor, RequestTime};
use crate::process::{Clock, Deadline};

use super::body_memory::BodyMemory;
use super::client::{ClientFactory, Endpoint};
use super::connection_runtime::ConnectionRuntime;
use super::deadline::{ByteCounter, run_until_deadline};
use super::digest::DigestSessions;
use super::endpoints::Endpoints;
use super::exchange::Answer;
use super::fetch_trait::{Fetch, FetchContext, FetchError, FetchFuture, Payload, RefusedResponse};
use super::request_sender::{self, FinalAnswer, RequestSender};
use super::resolver::{self, NameResolver, ResolveFn};
use super::response_body::BodyReader;
use super::tls::TlsClient;
use super::validators::Validators;
use super::{cache_lifetime, refusal, request, response_head, validators};

/// Maximum size of the beginning of a refused response's body, in bytes.
const MAX_REFUSAL_BYTES: u64 = 16 * 1024;

/// Maximum time to wait for the body of a refused response. It only adds the reason to the failure,
/// which the status already determines.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(250);

/// HTTP client for requests to providers. The process has one, so that requests share pooled
/// connections, TLS sessions and name lookups.
pub struct HttpFetch {
    sender: RequestSender,
    max_per_host: Arc<AtomicUsize>,
    body_memory: BodyMemory,
    redactor: Redactor,
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
            sender: RequestSender {
                endpoints,
                clock,
                digest: DigestSessions::default(),
                redactor: redactor.clone(),
            },
            max_per_host,
            body_memory: BodyMemory::of_container(),
            redactor,
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
        let time = RequestTime {
            now: self.sender.clock.wall_time(),
            time_zone: provider.request.time_zone.as_deref(),
        };
        // What fails without the network fails before the permit, for which other calls wait.
        let mut request = request::build_request(&provider.request, time)?;
        // A redirect leads to another resource, whose validators are not those of this one.
        let request_hash = validators::hash_conditional_request(&request)
            .filter(|_| !provider.request.follow_redirects);
        let is_conditional = context
            .validators
            .as_ref()
            .is_some_and(|held| held.add_condition(&mut request, request_hash));
        let runtime = self.connections.handle();
        let FinalAnswer {
            answer,
            set_cookies,
            lease,
            _permit,
        } = self
            .sender
            .send(runtime, &provider.request, request, context)
            .await?;
        let is_closing = request_sender::is_closing_answer(&answer);
        let lifetime =
            cache_lifetime::remaining_lifetime(&answer.head.headers, self.sender.clock.wall_time())
                .filter(|_| provider.request.obeys_cache);
        let result = if is_conditional && answer.head.status == StatusCode::NOT_MODIFIED {
            unchanged_payload(&answer, set_cookies)
        } else {
            let validators =
                Validators::from_response(request_hash, answer.head.status, &answer.head.headers);
            let read = self
                .read_payload(answer, set_cookies, provider, context)
                .await;
            read.map(|payload| Payload {
                validators,
                ..payload
            })
        };
        let result = result.map(|payload| Payload {
            lifetime,
            ..payload
        });
        if let Err(error) = &result
            && (is_closing || request_sender::is_in_doubt(error.failure.code))
        {
            lease.discard_client();
        }
        result
    }

    async fn read_payload(
        &self,
        answer: Answer,
        mut set_cookies: Vec<HeaderValue>,
        provider: &Provider,
        context: &FetchContext,
    ) -> Result<Payload, FetchError> {
        let Answer { head, body, .. } = answer;
        let deadline = context.deadline;
        // The framing first: with a wrong one, neither the status nor the body can be trusted.
        let ends_at = response_head::check_head(&head)?;
        set_cookies.extend(request_sender::received_cookies(&head.headers));
        let is_accepted = provider
            .request
            .accept_status
            .contains(&head.status.as_u16());
        let now = self.sender.clock.wall_time();
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
            let refused = RefusedResponse {
                status: head.status.as_u16(),
                // Redacted as a whole: it is cut and escaped later.
                received: self.redactor.redact(&received).into(),
                set_cookies,
            };
            return Err(response_head::build_fetch_error(
                &failure,
                &note,
                Some(Box::new(refused)),
                &head.headers,
                now,
            ));
        }
        let coding = response_head::parse_content_coding(&head.headers)?;
        let counter = ByteCounter::default();
        let limit = provider.request.max_body;
        let memory = self.body_memory.start(limit, context.is_filter_endless);
        let read = BodyReader::new(body, head.version, ends_at, &counter, limit).read_decoded(
            coding,
            limit,
            Some(&memory),
        );
        let late = || memory.timeout_failure(deadline, counter.bytes());
        let body = match run_until_deadline(deadline, late, pin!(read)).await {
            Err(failure) if failure.code == Code::EmptyBody => {
                let refused = RefusedResponse {
                    status: head.status.as_u16(),
                    received: Box::default(),
                    set_cookies,
                };
                let mut error = FetchError::from(failure);
                error.refused = Some(Box::new(refused));
                return Err(error);
            }
            read => read?,
        };
        Ok(Payload {
            body: memory.hold(body),
            charset: response_head::content_charset(&head.headers),
            set_cookies,
            validators: None,
            is_unchanged: false,
            lifetime: None,
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
            let left = deadline
                .at
                .saturating_duration_since(self.sender.clock.instant());
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

/// Returns the payload of a 304, which has no body (RFC 9110, section 15.4.5).
fn unchanged_payload(
    answer: &Answer,
    set_cookies: Vec<HeaderValue>,
) -> Result<Payload, FetchError> {
    response_head::check_head(&answer.head)?;
    Ok(Payload {
        set_cookies,
        is_unchanged: true,
        ..Payload::from(Bytes::new())
    })
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
            self.sender.endpoints.expect_call(source, &endpoint, at);
        }
    }
}
