//! One attempt over HTTP: a connection from the pool or a new one, a request, a head, a body, within one deadline.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::clock::{Clock, Deadline};
use crate::domain::{Code, Failure, Provider, Secrets, Veil};

use super::body::Wire;
use super::connect::{Connector, Target};
use super::link::Link;
use super::lookup::{self, Ask, Lookup};
use super::phase::{Meter, Phase, within};
use super::pool::Pool;
use super::tls::Tls;
use super::{Fetch, FetchError, Payload, head, request, text};

/// The most bytes of a failing answer's body that are looked at.
const PROBLEM: u64 = 8 * 1024;

/// How long a failing answer's body is waited for, at most: its status already says that it failed.
const PROBLEM_PATIENCE: Duration = Duration::from_millis(100);

/// Fetches over HTTP/1.1; one for the whole process, so that connections are kept, and TLS
/// sessions and lookups shared.
pub struct HttpFetch {
    connector: Connector,
    pool: Pool,
    veil: RwLock<Veil>,
    clock: Clock,
}

/// What of a problem details body (RFC 9457) is worth quoting.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
}

/// A request's end on one connection.
struct Fault {
    error: FetchError,
    /// The connection was over before the request could be sent, or closed before any byte of an answer came, or only a
    /// [farewell](is_farewell) came over it.
    dead: bool,
}

impl HttpFetch {
    /// A fetcher that resolves names by the system and masks `secrets` in its messages.
    pub fn new(clock: Clock, secrets: Secrets) -> Self {
        Self::with_lookup(clock, secrets, lookup::system())
    }

    /// A fetcher that resolves names by `ask`.
    pub fn with_lookup(clock: Clock, secrets: Secrets, ask: Ask) -> Self {
        let connector = Connector {
            lookup: Lookup::new(ask),
            tls: Tls::default(),
            clock,
        };
        let veil = RwLock::new(Veil::from(secrets));
        Self {
            connector,
            pool: Pool::default(),
            veil,
            clock,
        }
    }

    /// Masks `secrets` from now on, after a reload; those of the configuration before stay masked.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.veil
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(secrets);
    }

    async fn attempt(
        &self,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Payload, FetchError> {
        let Some(target) = Target::of(&provider.request) else {
            return Err(request::unwritable().into());
        };
        let request = request::build(&provider.request, &target)?;
        let resting = if repeatable(&request) {
            self.pool.take(&provider.request, self.clock.instant())
        } else {
            None
        };
        if let Some(link) = resting {
            match self
                .exchange(link, request.clone(), provider, deadline)
                .await
            {
                Ok(payload) => return Ok(payload),
                Err(fault) => {
                    // Whatever befell this connection may have befallen the others that rest: a way that went dark
                    // must not cost one attempt for each.
                    self.pool.forget(&provider.request);
                    if !fault.dead {
                        return Err(fault.error);
                    }
                }
            }
        }
        let stream = self.connector.connect(&target, deadline).await?;
        let link = Link::open(stream)
            .await
            .map_err(|error| head::broken(&error, 0))?;
        self.exchange(link, request, provider, deadline)
            .await
            .map_err(|fault| fault.error)
    }

    /// One request and its answer over `link`, which goes to the pool if it may and somebody would take it from there.
    async fn exchange(
        &self,
        mut link: Link,
        request: Request<Full<Bytes>>,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Payload, Fault> {
        let (meter, again) = (link.meter(), repeatable(&request));
        let mut unsent = false;
        let sent = async {
            link.send(request).await.map_err(|error| {
                unsent = error.is_canceled();
                head::broken(&error, meter.bytes())
            })
        };
        let (head, body) = match within(deadline, Phase::Head, &meter, sent).await {
            Ok(answer) => answer.into_parts(),
            Err(failure) => {
                let dead = unsent || (failure.code == Code::ConnectionClosed && meter.bytes() == 0);
                return Err(Fault {
                    error: failure.into(),
                    dead,
                });
            }
        };
        let dead = is_farewell(&head);
        let taken = self
            .take_body(&mut link, head, body, provider.request.max_body, deadline)
            .await;
        let payload = taken.map_err(|error| Fault { error, dead })?;
        if again {
            self.pool.put(&provider.request, link, self.clock.instant());
        }
        Ok(payload)
    }

    async fn take_body(
        &self,
        link: &mut Link,
        head: Parts,
        body: Incoming,
        limit: u64,
        deadline: Deadline,
    ) -> Result<Payload, FetchError> {
        head::framing(&head)?;
        if let Some(failure) = head::objection(head.status, &head.headers) {
            let title = self.title(link, &head.headers, body, deadline).await;
            return Err(head::explained(
                &failure,
                title.as_deref(),
                &head.headers,
                self.clock.now(),
            ));
        }
        let coding = head::coding(&head.headers)?;
        let meter = Meter::default();
        let read = Wire::new(link, body, &meter, limit).read(coding, limit);
        Ok(Payload(within(deadline, Phase::Body, &meter, read).await?))
    }

    /// The title of a failing answer's problem details, if it has some and they come soon: masked, escaped, short.
    async fn title(
        &self,
        link: &mut Link,
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
        let coding = head::coding(headers).ok()?;
        let meter = Meter::default();
        let read = Wire::new(link, body, &meter, PROBLEM).read(coding, PROBLEM);
        let left = deadline.at.saturating_duration_since(self.clock.instant());
        let bytes = tokio::time::timeout(PROBLEM_PATIENCE.min(left / 2), read)
            .await
            .ok()?
            .ok()?;
        let title = serde_json::from_slice::<Problem>(&bytes).ok()?.title?;
        // Masked before it is escaped and cut, either of which could hide a secret from the mask.
        Some(text::quote(&self.mask(&title)))
    }

    fn mask(&self, text: &str) -> String {
        self.veil
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .mask(text)
    }
}

impl Fetch for HttpFetch {
    async fn fetch(&self, provider: &Provider, deadline: Deadline) -> Result<Payload, FetchError> {
        let ended = self.attempt(provider, deadline).await;
        ended.map_err(
            |FetchError {
                 failure,
                 retry_after,
             }| {
                let failure = Failure::new(failure.code, self.mask(&failure.message));
                FetchError {
                    failure,
                    retry_after,
                }
            },
        )
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
fn is_farewell(head: &Parts) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    head.status == StatusCode::REQUEST_TIMEOUT
        && head.headers.get(CONNECTION).is_some_and(closes)
        && !head.headers.contains_key(RETRY_AFTER)
}

/// Whether sending the request twice does no more than sending it once; others always get a new connection, since they
/// could not be sent again if a resting one turned out dead.
fn repeatable(request: &Request<Full<Bytes>>) -> bool {
    matches!(request.method().as_str(), "GET" | "HEAD")
}
