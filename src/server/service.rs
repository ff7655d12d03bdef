//! The service of one connection: guard, then the exact `/resumen` from the current rendering, everything else from the
//! routes; and what every answer has in common.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tower::Service as _;

use crate::domain::Time;
use crate::process::TimePoint;
use crate::render::Rendering;

use super::connection_state::ConnectionState;
use super::fast_path::SharedBuffers;
use super::panic::catch_panic;
use super::representation::respond_with_rendering;
use super::validate;
use crate::api::AppState;
use crate::api::{ROUTE_LABELS, routes};
use crate::metrics::ThreadCounters;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters of a request's identifier that are given back.
const MAX_REQUEST_ID_LENGTH: usize = 128;

/// The path that is answered here.
const RESUMEN_PATH: &str = "/resumen";

/// What the connections of one thread share.
pub(crate) struct WorkerState {
    pub(crate) app_state: Arc<AppState>,
    pub(crate) stats: Arc<ThreadCounters>,
    pub(crate) fast_path: SharedBuffers,
    router: Router,
    resumen_label: usize,
}

impl WorkerState {
    pub(crate) fn new(site: Arc<AppState>, stats: Arc<ThreadCounters>) -> Self {
        let router = routes::build_router(Arc::clone(&site));
        Self {
            app_state: site,
            stats,
            fast_path: SharedBuffers::new(),
            router,
            resumen_label: routes::find_route_index(RESUMEN_PATH),
        }
    }

    /// Whether plain requests may be answered without the library: nobody has to wait, and no connection to end.
    pub(crate) fn allows_fast_path(&self) -> bool {
        self.app_state.is_first_round_done() && !self.app_state.is_draining()
    }

    /// The answer to a plain request with these fields.
    pub(crate) fn build_response(
        &self,
        rendering: &Rendering,
        fields: &HeaderMap,
    ) -> Response<Bytes> {
        let mut response = respond_with_rendering(rendering, fields);
        self.app_state.cors.add_response_headers(
            self.app_state.cors.allowed_origin(fields),
            response.headers_mut(),
        );
        response
    }

    /// Counts an answer of `/resumen`.
    pub(crate) fn count_resumen(&self, status: StatusCode, began: TimePoint) {
        self.stats.record_response(
            self.resumen_label,
            status,
            self.app_state.clock.elapsed_since(began),
        );
    }

    /// Counts an answer that the library gave by itself, to what was no request yet.
    pub(crate) fn count_unparsed(&self, status: StatusCode) {
        self.stats
            .record_response(routes::UNMATCHED_ROUTE, status, Duration::ZERO);
    }

    /// The answer to exactly `GET` or `HEAD` `/resumen` without parameters, unless it has to wait for the first round.
    fn respond_from_cache(&self, head: &Head, now: Time) -> Option<Response<Bytes>> {
        let plain = head.uri.path() == RESUMEN_PATH && head.uri.query().is_none();
        if !plain
            || !(head.method == Method::GET || head.method == Method::HEAD)
            || !self.app_state.is_first_round_done()
        {
            return None;
        }
        let rendering = self.app_state.cache.current_rendering(now);
        Some(respond_with_rendering(&rendering, &head.headers))
    }
}

/// One connection's service.
pub(crate) struct ConnectionService {
    worker_state: Arc<WorkerState>,
    conn: Arc<ConnectionState>,
    head_count: AtomicU32,
}

impl ConnectionService {
    pub(crate) fn new(hall: Arc<WorkerState>, conn: Arc<ConnectionState>) -> Self {
        Self {
            worker_state: hall,
            conn,
            head_count: AtomicU32::new(0),
        }
    }
}

impl ConnectionService {
    /// The answer, or who makes it.
    fn begin_response(&self, head: Head, has_body: bool, began: TimePoint) -> PendingResponse {
        let fault = self
            .conn
            .framing_problem(self.head_count.fetch_add(1, Relaxed));
        let refused = validate::validate_request(&head, has_body, fault)
            .err()
            .map(|problem| problem.to_response());
        match refused.or_else(|| self.worker_state.respond_from_cache(&head, began.time)) {
            Some(response) => PendingResponse::Ready(into_buffered(response)),
            None => PendingResponse::Routed(self.route_request(head)),
        }
    }

    fn route_request(&self, mut head: Head) -> RouteFuture {
        head.extensions.insert(Arc::clone(&self.conn));
        self.worker_state
            .router
            .clone()
            .call(Request::from_parts(head, axum::body::Body::empty()))
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.conn.begin_response();
        let (head, body) = request.into_parts();
        let hall = Arc::clone(&self.worker_state);
        let has_body = !body.is_end_stream();
        let marks = RequestInfo::from_head(&head, &hall, has_body);
        let decided = catch_panic(|| self.begin_response(head, has_body, marks.started_at));
        let course = decided
            .unwrap_or_else(|problem| PendingResponse::Ready(into_buffered(problem.to_response())));
        ResponseFuture {
            worker_state: hall,
            request_info: Some(marks),
            pending: Some(course),
            _body: body,
        }
    }
}

/// What of a request its answer depends on in the end.
struct RequestInfo {
    started_at: TimePoint,
    route_label: usize,
    allowed_origin: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    has_body: bool,
}

impl RequestInfo {
    fn from_head(head: &Head, hall: &WorkerState, has_body: bool) -> Self {
        let path = head.uri.path();
        Self {
            started_at: hall.app_state.clock.time_point(),
            route_label: if path == RESUMEN_PATH {
                hall.resumen_label
            } else {
                routes::find_route_index(path)
            },
            allowed_origin: hall.app_state.cors.allowed_origin(&head.headers),
            request_id: head.headers.get(&X_REQUEST_ID).map(choose_request_id),
            has_body,
        }
    }

    /// Adds what every answer has, and counts it.
    fn finish_response(self, hall: &WorkerState, response: &mut Response<ResponseBody>) {
        let status = response.status();
        let headers = response.headers_mut();
        // A route's empty body would be announced, but these have none to announce (RFC 9110 §8.6).
        if status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        }
        hall.app_state
            .cors
            .add_response_headers(self.allowed_origin, headers);
        if let Some(id) = self.request_id {
            headers.insert(X_REQUEST_ID, id);
        }
        // Nobody read the body, so nobody knows where the next request would begin.
        if self.has_body || hall.app_state.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let took = hall.app_state.clock.elapsed_since(self.started_at);
        hall.stats
            .record_response(self.route_label.min(ROUTE_LABELS.len() - 1), status, took);
    }
}

/// A request's own identifier if it is short and visible, else a new one.
fn choose_request_id(sent: &HeaderValue) -> HeaderValue {
    let visible = sent.as_bytes().iter().all(u8::is_ascii_graphic);
    if visible && (1..=MAX_REQUEST_ID_LENGTH).contains(&sent.len()) {
        return sent.clone();
    }
    let fresh = format!("{:016x}", fastrand::u64(..));
    HeaderValue::from_str(&fresh).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

type RouteFuture = <Router as tower::Service<Request<axum::body::Body>>>::Future;

/// How an answer comes about.
enum PendingResponse {
    /// It is there.
    Ready(Response<ResponseBody>),
    /// A route makes it.
    Routed(RouteFuture),
}

/// An answer on its way.
pub(crate) struct ResponseFuture {
    worker_state: Arc<WorkerState>,
    request_info: Option<RequestInfo>,
    pending: Option<PendingResponse>,
    /// Held until the answer is made: a body that is dropped before is asked for with `100 Continue`.
    _body: Incoming,
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut response = match this.pending.take() {
            Some(PendingResponse::Ready(response)) => response,
            Some(PendingResponse::Routed(mut routed)) => {
                match catch_panic(|| Pin::new(&mut routed).poll(cx)) {
                    Ok(Poll::Ready(Ok(response))) => response.map(ResponseBody::Routed),
                    Ok(Poll::Pending) => {
                        this.pending = Some(PendingResponse::Routed(routed));
                        return Poll::Pending;
                    }
                    Err(problem) => into_buffered(problem.to_response()),
                }
            }
            None => return Poll::Pending,
        };
        if let Some(marks) = this.request_info.take() {
            marks.finish_response(&this.worker_state, &mut response);
        }
        Poll::Ready(Ok(response))
    }
}

fn into_buffered(response: Response<Bytes>) -> Response<ResponseBody> {
    response.map(|body| ResponseBody::Buffered(Full::new(body)))
}

/// An answer's body: whole, or from a route.
pub(crate) enum ResponseBody {
    Buffered(Full<Bytes>),
    Routed(axum::body::Body),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Buffered(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Routed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Buffered(body) => body.is_end_stream(),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Buffered(body) => body.size_hint(),
            Self::Routed(body) => body.size_hint(),
        }
    }
}
