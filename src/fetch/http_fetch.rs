//! One attempt over HTTP: a connection from the pool or a new one, a request, a head, a body, within one deadline.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::RwLock;
use serde::Deserialize;

use crate::domain::{Code, Failure, Provider, Redactor, SecretSet};
use crate::process::{Clock, Deadline};

use super::connector::{ConnectTarget, Connector};
use super::deadline::{ByteCounter, FetchPhase, run_until_deadline};
use super::pool::ConnectionPool;
use super::resolver;
use super::resolver::{NameResolver, ResolveFn};
use super::response_body::BodyReader;
use super::tls::TlsClient;
use super::upstream_connection::ProviderConnection;
use super::{quoted, request, response_head};
use crate::fetch::{Fetch, FetchError, FetchFuture, Payload};

/// The most bytes of a failing answer's body that are looked at.
const MAX_PROBLEM_BYTES: u64 = 8 * 1024;

/// How long a failing answer's body is waited for, at most: its status already says that it failed.
const PROBLEM_TIMEOUT: Duration = Duration::from_millis(100);

/// Fetches over HTTP/1.1; one for the whole process, so that connections are kept, and TLS
/// sessions and lookups shared.
pub struct HttpFetch {
    connector: Connector,
    pool: ConnectionPool,
    redactor: RwLock<Redactor>,
    clock: Clock,
}

/// What of a problem details body (RFC 9457) is worth quoting.
#[derive(Deserialize)]
struct ProblemTitle {
    title: Option<String>,
}

/// A request's end on one connection.
struct ExchangeError {
    error: FetchError,
    /// The connection was over before the request could be sent, or closed before any byte of an answer came, or only a
    /// [farewell](is_farewell) came over it.
    was_connection_dead: bool,
}

impl HttpFetch {
    /// A fetcher that resolves names by the system and masks `secrets` in its messages.
    pub fn new(clock: Clock, secrets: SecretSet) -> Self {
        Self::with_resolver(clock, secrets, resolver::system_resolver())
    }

    /// A fetcher that resolves names by `ask`.
    pub fn with_resolver(clock: Clock, secrets: SecretSet, ask: ResolveFn) -> Self {
        let connector = Connector {
            resolver: NameResolver::new(ask),
            tls: TlsClient::default(),
            clock,
        };
        let veil = RwLock::new(Redactor::from(secrets));
        Self {
            connector,
            pool: ConnectionPool::default(),
            redactor: veil,
            clock,
        }
    }

    /// Masks `secrets` from now on, after a reload; those of the configuration before stay masked.
    pub fn set_secrets(&self, secrets: SecretSet) {
        self.redactor.write().replace_secrets(secrets);
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
        let resting = if has_safe_method(&request) {
            self.pool.take_idle(&provider.request, self.clock.instant())
        } else {
            None
        };
        if let Some(link) = resting {
            match self
                .exchange_request(link, request.clone(), provider, deadline)
                .await
            {
                Ok(payload) => return Ok(payload),
                Err(fault) => {
                    // Whatever befell this connection may have befallen the others that rest: a way that went dark
                    // must not cost one attempt for each.
                    self.pool.close_for_request(&provider.request);
                    if !fault.was_connection_dead {
                        return Err(fault.error);
                    }
                }
            }
        }
        let stream = self.connector.connect(&target, deadline).await?;
        let link = ProviderConnection::open(stream)
            .await
            .map_err(|error| response_head::head_failure(&error, 0))?;
        self.exchange_request(link, request, provider, deadline)
            .await
            .map_err(|fault| fault.error)
    }

    /// One request and its answer over `link`, which goes to the pool if it may and somebody would take it from there.
    async fn exchange_request(
        &self,
        mut link: ProviderConnection,
        request: Request<Full<Bytes>>,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Payload, ExchangeError> {
        let (meter, again) = (link.counter(), has_safe_method(&request));
        let mut unsent = false;
        let sent = async {
            link.send_request(request).await.map_err(|error| {
                unsent = error.is_canceled();
                response_head::head_failure(&error, meter.bytes())
            })
        };
        let (head, body) = match run_until_deadline(deadline, FetchPhase::Head, &meter, sent).await
        {
            Ok(answer) => answer.into_parts(),
            Err(failure) => {
                let dead = unsent || (failure.code == Code::ConnectionClosed && meter.bytes() == 0);
                return Err(ExchangeError {
                    error: failure.into(),
                    was_connection_dead: dead,
                });
            }
        };
        let dead = is_idle_timeout_response(&head);
        let taken = self
            .read_payload(&mut link, head, body, provider.request.max_body, deadline)
            .await;
        let payload = taken.map_err(|error| ExchangeError {
            error,
            was_connection_dead: dead,
        })?;
        if again {
            self.pool
                .put_idle(&provider.request, link, self.clock.instant());
        }
        Ok(payload)
    }

    async fn read_payload(
        &self,
        link: &mut ProviderConnection,
        head: Parts,
        body: Incoming,
        limit: u64,
        deadline: Deadline,
    ) -> Result<Payload, FetchError> {
        response_head::check_framing(&head)?;
        if let Some(failure) = response_head::status_failure(head.status, &head.headers) {
            let title = self
                .read_problem_title(link, &head.headers, body, deadline)
                .await;
            return Err(response_head::build_fetch_error(
                &failure,
                title.as_deref(),
                &head.headers,
                self.clock.now(),
            ));
        }
        let coding = response_head::parse_content_coding(&head.headers)?;
        let meter = ByteCounter::default();
        let read = BodyReader::new(link, body, &meter, limit).read_decoded(coding, limit);
        Ok(Payload(
            run_until_deadline(deadline, FetchPhase::Body, &meter, read).await?,
        ))
    }

    /// The title of a failing answer's problem details, if it has some and they come soon: masked, escaped, short.
    async fn read_problem_title(
        &self,
        link: &mut ProviderConnection,
        headers: &HeaderMap,
        body: Incoming,
        deadline: Deadline,
    ) -> Option<String> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        if !kind
            .to_ascii_lowercase()
            .starts_with("application/problem+json")
        {
            return None;
        }
        let coding = response_head::parse_content_coding(headers).ok()?;
        let meter = ByteCounter::default();
        let read = BodyReader::new(link, body, &meter, MAX_PROBLEM_BYTES)
            .read_decoded(coding, MAX_PROBLEM_BYTES);
        let left = deadline.at.saturating_duration_since(self.clock.instant());
        let bytes = tokio::time::timeout(PROBLEM_TIMEOUT.min(left / 2), read)
            .await
            .ok()?
            .ok()?;
        let title = serde_json::from_slice::<ProblemTitle>(&bytes).ok()?.title?;
        // Masked before it is escaped and cut, either of which could hide a secret from the mask.
        Some(quoted::quote_escaped(&self.redact_text(&title)))
    }

    fn redact_text(&self, text: &str) -> String {
        self.redactor.read().redact(text)
    }
}

impl Fetch for HttpFetch {
    fn fetch<'f>(&'f self, provider: &'f Provider, deadline: Deadline) -> FetchFuture<'f> {
        Box::pin(async move {
            let ended = self.run_attempt(provider, deadline).await;
            ended.map_err(
                |FetchError {
                     failure,
                     retry_after,
                 }| {
                    let failure = Failure::new(failure.code, self.redact_text(&failure.message));
                    FetchError {
                        failure,
                        retry_after,
                    }
                },
            )
        })
    }
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}

/// Whether an answer is a server's goodbye to a connection that rested too long for it (RFC 9110, 15.5.9), rather than
/// one to the request that crossed it on the way.
fn is_idle_timeout_response(head: &Parts) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    head.status == StatusCode::REQUEST_TIMEOUT
        && head.headers.get(CONNECTION).is_some_and(closes)
        && !head.headers.contains_key(RETRY_AFTER)
}

/// Whether sending the request twice does no more than sending it once; others always get a new connection, since they
/// could not be sent again if a resting one turned out dead.
fn has_safe_method(request: &Request<Full<Bytes>>) -> bool {
    matches!(request.method().as_str(), "GET" | "HEAD")
}
