//! [`Fetch`] over HTTP/1.1: a pooled or new connection, a request, a response head and a body,
//! under one deadline.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::domain::{Code, Provider, Redactor};
use crate::process::{Clock, Deadline};
use crate::text::escape_bounded;

use super::connect_target::ConnectTarget;
use super::connector::Connector;
use super::deadline::{ByteCounter, FetchPhase, run_until_deadline};
use super::fetch_trait::{Fetch, FetchError, FetchFuture, Payload};
use super::pool::ConnectionPool;
use super::resolver;
use super::resolver::{NameResolver, ResolveFn};
use super::response_body::BodyReader;
use super::tls::TlsClient;
use super::upstream_connection::ProviderConnection;
use super::{request, response_head};

/// Maximum size of an error response body to read, in bytes.
const MAX_PROBLEM_BYTES: u64 = 8 * 1024;

/// Maximum number of characters of a quoted title, after escaping.
const MAX_QUOTE_CHARS: usize = 120;

/// Maximum time to wait for an error response body. It only adds a title to the failure, which the
/// status already determines.
const PROBLEM_TIMEOUT: Duration = Duration::from_millis(100);

/// HTTP/1.1 client for requests to providers. The process has one, so that requests share pooled
/// connections, TLS sessions and name lookups.
pub struct HttpFetch {
    connector: Connector,
    pool: ConnectionPool,
    redactor: Redactor,
    clock: Clock,
}

/// The quoted part of a problem details body (RFC 9457).
#[derive(Deserialize)]
struct ProblemTitle {
    title: Option<String>,
}

/// Error of a request on one connection.
struct ExchangeError {
    error: FetchError,
    /// Whether the connection was dead before the request: the request was not sent, the connection
    /// closed before any byte of a response, or the response was an idle timeout.
    was_connection_dead: bool,
}

impl HttpFetch {
    /// Returns a client with the system's name resolver. Its failure messages pass through
    /// `redactor`.
    pub fn new(clock: Clock, redactor: Redactor) -> Self {
        Self::with_resolver(clock, redactor, resolver::system_resolver())
    }

    /// Returns a client with another name resolver.
    pub fn with_resolver(clock: Clock, redactor: Redactor, resolve: ResolveFn) -> Self {
        let connector = Connector {
            resolver: NameResolver::new(resolve),
            tls: TlsClient::default(),
            clock,
        };
        Self {
            connector,
            pool: ConnectionPool::default(),
            redactor,
            clock,
        }
    }

    async fn run_attempt(
        &self,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Payload, FetchError> {
        let Some(target) = ConnectTarget::from_request(&provider.request) else {
            return Err(request::unwritable_request().into());
        };
        let request = request::build_request(&provider.request, &target)?;
        let pooled = if has_safe_method(&request) {
            self.pool.take_idle(&provider.request, self.clock.instant())
        } else {
            None
        };
        if let Some(connection) = pooled {
            match self
                .exchange_request(connection, request.clone(), provider, deadline)
                .await
            {
                Ok(payload) => return Ok(payload),
                Err(failed) => {
                    // A broken route affects all pooled connections. They are closed so that it
                    // does not cost one attempt each.
                    self.pool.close_for_request(&provider.request);
                    if !failed.was_connection_dead {
                        return Err(failed.error);
                    }
                }
            }
        }
        let stream = self.connector.connect(&target, deadline).await?;
        let connection = ProviderConnection::open(stream)
            .await
            .map_err(|error| response_head::head_failure(&error, 0))?;
        self.exchange_request(connection, request, provider, deadline)
            .await
            .map_err(|failed| failed.error)
    }

    /// Sends the request over `connection` and reads the response. Afterwards the connection
    /// returns to the pool, if the method allows its reuse.
    async fn exchange_request(
        &self,
        mut connection: ProviderConnection,
        request: Request<Full<Bytes>>,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Payload, ExchangeError> {
        let (counter, is_reusable) = (connection.counter(), has_safe_method(&request));
        let mut unsent = false;
        let sent = async {
            connection.send_request(request).await.map_err(|error| {
                unsent = error.is_canceled();
                response_head::head_failure(&error, counter.bytes())
            })
        };
        let (head, body) =
            match run_until_deadline(deadline, FetchPhase::Head, &counter, sent).await {
                Ok(response) => response.into_parts(),
                Err(failure) => {
                    let was_connection_dead =
                        unsent || (failure.code == Code::ConnectionClosed && counter.bytes() == 0);
                    return Err(ExchangeError {
                        error: failure.into(),
                        was_connection_dead,
                    });
                }
            };
        let was_connection_dead = is_idle_timeout_response(&head);
        let read = self
            .read_payload(
                &mut connection,
                head,
                body,
                provider.request.max_body,
                deadline,
            )
            .await;
        let payload = read.map_err(|error| ExchangeError {
            error,
            was_connection_dead,
        })?;
        if is_reusable {
            self.pool
                .put_idle(&provider.request, connection, self.clock.instant());
        }
        Ok(payload)
    }

    async fn read_payload(
        &self,
        connection: &mut ProviderConnection,
        head: Parts,
        body: Incoming,
        limit: u64,
        deadline: Deadline,
    ) -> Result<Payload, FetchError> {
        response_head::check_framing(&head)?;
        if let Some(failure) = response_head::status_failure(head.status, &head.headers) {
            let title = self
                .read_problem_title(connection, &head.headers, body, deadline)
                .await;
            return Err(response_head::build_fetch_error(
                &failure,
                title.as_deref(),
                &head.headers,
                self.clock.now(),
            ));
        }
        let coding = response_head::parse_content_coding(&head.headers)?;
        let counter = ByteCounter::default();
        let read = BodyReader::new(connection, body, &counter, limit).read_decoded(coding, limit);
        Ok(Payload(
            run_until_deadline(deadline, FetchPhase::Body, &counter, read).await?,
        ))
    }

    /// Returns the title of an error response's problem details, redacted, escaped and cut; `None`
    /// if there are none or they do not arrive in time.
    async fn read_problem_title(
        &self,
        connection: &mut ProviderConnection,
        headers: &HeaderMap,
        body: Incoming,
        deadline: Deadline,
    ) -> Option<String> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        if !content_type
            .to_ascii_lowercase()
            .starts_with("application/problem+json")
        {
            return None;
        }
        let coding = response_head::parse_content_coding(headers).ok()?;
        let counter = ByteCounter::default();
        let read = BodyReader::new(connection, body, &counter, MAX_PROBLEM_BYTES)
            .read_decoded(coding, MAX_PROBLEM_BYTES);
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
    fn fetch<'f>(&'f self, provider: &'f Provider, deadline: Deadline) -> FetchFuture<'f> {
        Box::pin(async move {
            let mut result = self.run_attempt(provider, deadline).await;
            if let Err(FetchError { failure, .. }) = &mut result {
                failure.message = self.redactor.redact(&failure.message).into();
            }
            result
        })
    }
}

/// Returns whether a response closes an idle connection (408 with `Connection: close`, RFC 9110,
/// section 15.5.9) instead of responding to the request, which was sent at the same time.
fn is_idle_timeout_response(head: &Parts) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    head.status == StatusCode::REQUEST_TIMEOUT
        && head.headers.get(CONNECTION).is_some_and(closes)
        && !head.headers.contains_key(RETRY_AFTER)
}

/// Returns whether the request may be sent twice. Any other request uses a new connection, because
/// it could not be repeated if a pooled one is dead.
fn has_safe_method(request: &Request<Full<Bytes>>) -> bool {
    matches!(request.method().as_str(), "GET" | "HEAD")
}
