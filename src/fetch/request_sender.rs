//! The requests of one attempt: the configured one, its repetition on a dead connection, the answer to a Digest
//! challenge and the redirects that are followed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, HeaderValue, RETRY_AFTER, SET_COOKIE};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};
use reqwest::Request;
use tokio::runtime::Handle;
use url::Host;

use crate::domain::{Code, Failure, ProviderRequest, Redactor, RequestField};
use crate::process::{Clock, Deadline};

use super::call_limiter::{CallLimiter, CallPermit};
use super::client::{CallTarget, Endpoint};
use super::connection_runtime::OnConnectionRuntime;
use super::credentials::find_credentials;
use super::deadline::{self, ByteCounter, run_until_deadline};
use super::digest::{DigestAttempt, DigestSessions};
use super::endpoints::{ClientLease, EndpointState, Endpoints};
use super::exchange::{Answer, exchange};
use super::fetch_trait::{FetchContext, FetchError};
use super::redirects::RedirectFollower;
use super::response_body::BodyReader;
use super::{connector, request, response_head};

/// Maximum size of a body that is read only to use its connection again, in bytes.
const MAX_SKIPPED_BYTES: u64 = 8 * 1024;

/// Maximum time to wait for such a body.
const SKIP_TIMEOUT: Duration = Duration::from_millis(100);

/// Sends the requests of attempts.
pub(super) struct RequestSender {
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) clock: Clock,
    pub(super) digest: DigestSessions,
    pub(super) redactor: Redactor,
}

/// The last answer of an attempt. Its client and its permit are used until the body has been read.
pub(super) struct FinalAnswer {
    pub(super) answer: Answer,
    /// Values of the `Set-Cookie` headers of the redirects that were followed.
    pub(super) set_cookies: Vec<HeaderValue>,
    pub(super) lease: ClientLease,
    pub(super) _permit: CallPermit,
}

impl RequestSender {
    /// Sends `request`, which was built from `configured`, and what its answers require. Connections run on `runtime`.
    pub(super) async fn send(
        &self,
        runtime: &Handle,
        configured: &ProviderRequest,
        mut request: Request,
        context: &FetchContext,
    ) -> Result<FinalAnswer, FetchError> {
        let deadline = context.deadline;
        let mut may_retry = request::is_repeatable(configured);
        let mut target = CallTarget::from_request(configured, deadline.limit, may_retry)?;
        self.check_proxied_name(runtime, &target, deadline).await?;
        let mut endpoint = self.endpoints.state(&target.endpoint);
        let mut digest = self.begin_digest(&target.endpoint, configured, &request);
        let mut permit = acquire_permit(&endpoint.limiter, &target, context).await?;
        let mut redirects = RedirectFollower::default();
        let mut set_cookies = Vec::new();
        loop {
            if let Some(digest) = &mut digest {
                digest.authorize(&mut request);
            }
            let (answer, lease) = self
                .send_once(
                    runtime,
                    &endpoint,
                    &target,
                    &request,
                    &mut may_retry,
                    deadline,
                )
                .await?;
            match next_step(&answer, configured, &request, &mut digest) {
                NextStep::End => {
                    return Ok(FinalAnswer {
                        answer,
                        set_cookies,
                        lease,
                        _permit: permit,
                    });
                }
                NextStep::Authorize => self.skip_body(answer, deadline).await,
                NextStep::Follow => {
                    redirects.follow(&answer.head, &mut request, &self.redactor)?;
                    set_cookies.extend(received_cookies(&answer.head.headers));
                    self.skip_body(answer, deadline).await;
                }
            }
            drop(lease);
            if Endpoint::from_url(request.url()).as_ref() != Some(&target.endpoint) {
                // Released first: a call must not hold the permit of one host while it waits for that of another.
                drop(permit);
                let mut redirected = configured.clone();
                redirected.url = request.url().clone();
                let is_pooled = target.settings.is_pooled;
                target = CallTarget::from_request(&redirected, deadline.limit, is_pooled)?;
                self.check_proxied_name(runtime, &target, deadline).await?;
                endpoint = self.endpoints.state(&target.endpoint);
                digest = self.begin_digest(&target.endpoint, configured, &request);
                permit = acquire_permit(&endpoint.limiter, &target, context).await?;
            }
        }
    }

    /// Fails if the name of a provider behind a proxy has a blocked address, as far as this machine can tell.
    async fn check_proxied_name(
        &self,
        runtime: &Handle,
        target: &CallTarget,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let (Some(origin), Host::Domain(name)) = (target.proxied_origin, &target.endpoint.host)
        else {
            return Ok(());
        };
        let time_left = deadline.at.saturating_duration_since(self.clock.instant());
        let resolver = self.endpoints.resolver();
        let check = connector::check_proxied_name(resolver, name, origin, time_left);
        OnConnectionRuntime::new(runtime.clone(), check).await
    }

    /// Returns the Digest authentication of an attempt; `None` without credentials, or if a configured header overrides
    /// them.
    fn begin_digest(
        &self,
        endpoint: &Endpoint,
        configured: &ProviderRequest,
        request: &Request,
    ) -> Option<DigestAttempt<'_>> {
        let credentials = find_credentials(&configured.url, configured.credentials.as_ref())?;
        let is_authorization =
            |(name, _): &RequestField| name.eq_ignore_ascii_case(AUTHORIZATION.as_str());
        let is_overridden = configured.headers.iter().any(is_authorization);
        // A redirect to another host has removed the header.
        let has_credentials = request.headers().contains_key(AUTHORIZATION) && !is_overridden;
        has_credentials.then(|| self.digest.begin(endpoint, credentials))
    }

    /// Sends a request once, or twice if `may_retry` permits it and the pooled connection turns out to be dead.
    async fn send_once(
        &self,
        runtime: &Handle,
        endpoint: &Arc<EndpointState>,
        target: &CallTarget,
        request: &Request,
        may_retry: &mut bool,
        deadline: Deadline,
    ) -> Result<(Answer, ClientLease), Failure> {
        loop {
            let lease = self.endpoints.lease_client(endpoint, &target.settings)?;
            let mut request = request
                .try_clone()
                .ok_or_else(request::unwritable_request)?;
            target.address_request(&mut request);
            match exchange(runtime, &lease, target, request, deadline).await {
                Ok(answer) if *may_retry && is_closing_answer(&answer) => lease.discard_client(),
                Ok(answer) => return Ok((answer, lease)),
                Err(error) => {
                    // A broken route affects all pooled connections, and an HTTP/2 connection that a
                    // peer floods stays open as long as its client.
                    if is_in_doubt(error.failure.code) {
                        lease.discard_client();
                    }
                    let is_dead =
                        error.is_on_kept_connection && error.failure.code == Code::ConnectionClosed;
                    if !(*may_retry && is_dead) {
                        return Err(error.failure);
                    }
                }
            }
            // One repetition suffices: no idle connection is left after the first one.
            *may_retry = false;
        }
    }

    /// Reads a short body that is not needed, so that its connection can be used again.
    async fn skip_body(&self, answer: Answer, deadline: Deadline) {
        let Answer { head, body, .. } = answer;
        if let Ok(ends_at) = response_head::check_head(&head) {
            let counter = ByteCounter::default();
            let read = BodyReader::new(body, head.version, ends_at, &counter, MAX_SKIPPED_BYTES)
                .read_decoded(None, MAX_SKIPPED_BYTES, None);
            let left = deadline.at.saturating_duration_since(self.clock.instant());
            let _ = tokio::time::timeout(SKIP_TIMEOUT.min(left / 2), read).await;
        }
    }
}

/// What must follow an answer.
enum NextStep {
    /// The answer is the last one.
    End,
    /// The request must be sent again with an answer to the challenge.
    Authorize,
    /// The redirect must be followed.
    Follow,
}

/// Returns what must follow an answer.
fn next_step(
    answer: &Answer,
    configured: &ProviderRequest,
    request: &Request,
    digest: &mut Option<DigestAttempt<'_>>,
) -> NextStep {
    let status = answer.head.status;
    // The framing first: with a wrong one, the status cannot be trusted.
    if configured.accept_status.contains(&status.as_u16())
        || response_head::check_head(&answer.head).is_err()
    {
        NextStep::End
    } else if status == StatusCode::UNAUTHORIZED
        && let Some(digest) = digest
        && digest.accept_challenge(&answer.head.headers, request)
    {
        NextStep::Authorize
    } else if configured.follow_redirects && RedirectFollower::is_redirect(status) {
        NextStep::Follow
    } else {
        NextStep::End
    }
}

/// Returns the values of the `Set-Cookie` headers. `Debug` does not print them.
pub(super) fn received_cookies(headers: &HeaderMap) -> impl Iterator<Item = HeaderValue> {
    headers.get_all(SET_COOKIE).iter().map(|value| {
        let mut value = value.clone();
        value.set_sensitive(true);
        value
    })
}

/// Waits for the permit of a call.
async fn acquire_permit(
    limiter: &Arc<CallLimiter>,
    target: &CallTarget,
    context: &FetchContext,
) -> Result<CallPermit, FetchError> {
    let may_share = target.settings.may_share();
    let acquired = async { Ok(limiter.acquire(&context.priority, may_share).await) };
    let late = || {
        let (limit, host) = (limiter.limit(), &target.endpoint.host);
        let activity = format!("waiting for one of {limit} calls to {host}");
        let failure = deadline::timeout_failure(Code::Timeout, context.deadline, &activity);
        FetchError {
            is_permit_timeout: true,
            ..FetchError::from(failure)
        }
    };
    let permit = run_until_deadline(context.deadline, late, pin!(acquired)).await?;
    // Calls that start together end together: a permit can become free exactly at the deadline.
    if context.deadline.has_passed() {
        return Err(late());
    }
    Ok(permit)
}

/// Returns whether a connection must not be reused after a call on it failed with `code`.
pub(super) fn is_in_doubt(code: Code) -> bool {
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

/// Returns whether an answer closes a pooled connection instead of responding to the request.
pub(super) fn is_closing_answer(answer: &Answer) -> bool {
    answer.is_on_kept_connection && is_idle_timeout_response(&answer.head)
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
