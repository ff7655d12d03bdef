//! The hyper service of one connection: validates a request, routes it, and completes the response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use tower::Service as _;

use crate::domain::Time;

use super::access_control::AccessGrant;
use super::access_record::AccessRecord;
use super::connection_places::ConnectionPermit;
use super::connection_state::ConnectionState;
use super::framing::FramingProblem;
use super::http2_body::{Http2Body, Http2Response};
use super::problem::{ProblemDetails, ProblemKind, catch_panic};
use super::route_access::{ListenerScope, RouteAccess};
use super::server_context::ServerContext;
use super::validate::validate_request;
use super::worker_state::WorkerState;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a client's request identifier that the response repeats.
const MAX_REQUEST_ID_LENGTH: usize = 128;

/// The service of one connection.
pub(super) struct ConnectionService {
    worker: Arc<WorkerState>,
    connection: Arc<ConnectionState>,
    /// Which routes the connection's listener answers.
    scope: ListenerScope,
    /// The connection's permit if it was accepted in the reserve.
    reserved: Option<Arc<ConnectionPermit>>,
    /// The client's address, if requests are logged.
    peer: Option<IpAddr>,
    /// Number of request heads so far, as [`ConnectionState::framing_problem`] counts them.
    head_count: AtomicU32,
}

impl ConnectionService {
    /// The service of `connection`, which has sent no request to hyper yet.
    pub(super) fn new(
        worker: Arc<WorkerState>,
        connection: Arc<ConnectionState>,
        scope: ListenerScope,
        reserved: Option<Arc<ConnectionPermit>>,
        peer: Option<IpAddr>,
    ) -> Self {
        Self {
            worker,
            connection,
            scope,
            reserved,
            peer,
            head_count: AtomicU32::new(0),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if request.version() == Version::HTTP_2 {
            return self.call_http2(request);
        }
        self.connection.begin_response();
        if !request.body().is_end_stream() {
            self.connection.record_request_body();
        }
        let head_number = self.head_count.fetch_add(1, Relaxed);
        let framing_problem = self.connection.framing_problem(head_number);
        Box::pin(respond(
            Arc::clone(&self.worker),
            Arc::clone(&self.connection),
            self.scope,
            self.reserved.clone(),
            self.peer,
            framing_problem,
            request,
        ))
    }
}

impl ConnectionService {
    /// Answers one of several requests of the connection that are answered at a time.
    fn call_http2(
        &self,
        request: Request<Incoming>,
    ) -> <Self as hyper::service::Service<Request<Incoming>>>::Future {
        let budget = self.worker.context.cache.send_budget();
        let response = Http2Response::begin(&self.connection, budget, request.headers());
        let is_head = request.method() == Method::HEAD;
        let responding = respond(
            Arc::clone(&self.worker),
            Arc::clone(&self.connection),
            self.scope,
            self.reserved.clone(),
            self.peer,
            None,
            request,
        );
        Box::pin(async move {
            let Ok(mut answer) = responding.await;
            // HTTP/2 has no such field (RFC 9113 §8.2.2): `connection` ends the connection.
            answer.headers_mut().remove(CONNECTION);
            if is_head {
                // By HTTP/1, hyper leaves the body out. Here a body would be an error of the protocol.
                return Ok(answer.map(|_| Body::empty()));
            }
            Ok(answer.map(|body| Body::new(Http2Body::new(body, response))))
        })
    }
}

async fn respond(
    worker: Arc<WorkerState>,
    connection: Arc<ConnectionState>,
    scope: ListenerScope,
    reserved: Option<Arc<ConnectionPermit>>,
    peer: Option<IpAddr>,
    framing_problem: Option<FramingProblem>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let context = &worker.context;
    let started_at = context.clock.time_point();
    let (head, body) = request.into_parts();
    let route = context.request_metrics.route_of(head.uri.path());
    let allowed_origin = context.cors.allowed_origin(&head.headers);
    let request_id = head.headers.get(&X_REQUEST_ID).map(choose_request_id);
    let has_body = !body.is_end_stream();

    let logged = context.logs_requests().then(|| head.clone());
    let mut grant = AccessGrant::default();

    let mut response = catch_panics(async {
        let access = context.access_of(route);
        validate_request(&head, has_body, framing_problem, access, &context.hosts)?;
        let answers_preflights = context.cors.answers_preflights();
        grant = context
            .access
            .authorize_request(access, &head, answers_preflights)?;
        if !scope.serves(access) {
            return Err(refuse_other_listener(head.uri.path()));
        }
        if let Some(permit) = reserved
            && access != RouteAccess::Everyone
        {
            leave_reserve(&permit, &connection).await?;
        }
        Ok(route_request(&worker, Arc::clone(&connection), head, grant.clone(), scope).await)
    })
    .await
    .unwrap_or_else(|problem| problem.to_response().map(Body::from));
    // Dropped only now: hyper sends `100 Continue` when an unread body is dropped before the
    // response exists.
    drop(body);

    let status = response.status();
    let headers = response.headers_mut();
    // axum adds the length of an empty body, which these statuses must not have (RFC 9110 §8.6).
    if status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    context.cors.add_response_headers(allowed_origin, headers);
    context.access.restrict_caching(headers);
    if let Some(id) = request_id {
        headers.insert(X_REQUEST_ID, id);
    }
    // No handler reads a body, so the start of the next request on the connection is unknown.
    // A place in the reserve is for one request.
    if has_body || context.is_draining() || connection.is_reserved() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let duration = context.clock.elapsed_since(started_at);
    worker.counters.record_response(route, status, duration);
    if let Some(head) = logged {
        let wall_time = context.clock.shift().apply(started_at.time);
        log_request(
            context,
            &head,
            peer,
            &grant,
            &response,
            (wall_time, duration),
        );
    }
    Ok(response)
}

/// The problem of a route that another listener answers.
fn refuse_other_listener(path: &str) -> ProblemDetails {
    let detail = "no route of this address has this path";
    ProblemDetails::new(ProblemKind::NotFound, detail).with_got(path)
}

/// Moves a connection of the reserve to a regular place, or answers 503.
async fn leave_reserve(
    permit: &ConnectionPermit,
    connection: &ConnectionState,
) -> Result<(), ProblemDetails> {
    if permit.move_to_regular().await {
        connection.leave_reserve();
        return Ok(());
    }
    Err(ProblemDetails::busy_connections())
}

fn log_request(
    context: &ServerContext,
    head: &Parts,
    peer: Option<IpAddr>,
    grant: &AccessGrant,
    response: &Response<Body>,
    (time, duration): (Time, Duration),
) {
    let forwarded_for = head.headers.get_all("x-forwarded-for").iter();
    let forwarded_for = forwarded_for.map(HeaderValue::as_bytes);
    let is_bodyless = head.method == Method::HEAD;
    context.log_request(&AccessRecord {
        time,
        client: peer.map(|peer| context.trusted_proxies.find_client(peer, forwarded_for)),
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query(),
        status: response.status(),
        body_length: if is_bodyless {
            Some(0)
        } else {
            response.body().size_hint().exact()
        },
        duration,
        request_id: response
            .headers()
            .get(&X_REQUEST_ID)
            .map(HeaderValue::as_bytes),
        user_agent: head.headers.get(USER_AGENT).map(HeaderValue::as_bytes),
        token: grant.token_name(),
    });
}

/// The router's response. Handlers find the connection's state and the grant in the request's
/// extensions.
async fn route_request(
    worker: &WorkerState,
    connection: Arc<ConnectionState>,
    mut head: Parts,
    grant: AccessGrant,
    scope: ListenerScope,
) -> Response<Body> {
    head.extensions.insert(connection);
    head.extensions.insert(scope);
    head.extensions.insert(grant);
    let request = Request::from_parts(head, Body::empty());
    let Ok(response) = worker.router.clone().call(request).await;
    response
}

/// The result of `work`, or a problem if it panics. So a bug in a handler fails one request, not
/// its connection.
async fn catch_panics<T>(
    work: impl Future<Output = Result<T, ProblemDetails>>,
) -> Result<T, ProblemDetails> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        catch_panic(|| work.as_mut().poll(cx)).unwrap_or_else(|problem| Poll::Ready(Err(problem)))
    })
    .await
}

/// The client's identifier if it is short and visible ASCII, else a new one.
fn choose_request_id(sent: &HeaderValue) -> HeaderValue {
    let is_visible = sent.as_bytes().iter().all(u8::is_ascii_graphic);
    if is_visible && (1..=MAX_REQUEST_ID_LENGTH).contains(&sent.len()) {
        return sent.clone();
    }
    let generated = format!("{:016x}", fastrand::u64(..));
    HeaderValue::from_str(&generated).unwrap_or_else(|_| HeaderValue::from_static("0"))
}
