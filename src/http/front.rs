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

use crate::clock::Mark;
use crate::domain::Time;
use crate::fetch::Fetch;
use crate::render::Rendering;

use super::connection::Conn;
use super::counters::Counters;
use super::express::Desk;
use super::representation::respond;
use super::rescue::rescued;
use super::routes::{self, LABELS};
use super::{Site, guard};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters of a request's identifier that are given back.
const LONGEST_ID: usize = 128;

/// The path that is answered here.
const RESUMEN: &str = "/resumen";

/// What the connections of one thread share.
pub(super) struct Hall<F> {
    pub(super) site: Arc<Site<F>>,
    pub(super) stats: Arc<Counters>,
    pub(super) desk: Desk,
    router: Router,
    resumen: usize,
}

impl<F: Fetch> Hall<F> {
    pub(super) fn new(site: Arc<Site<F>>, stats: Arc<Counters>) -> Self {
        let router = routes::router(Arc::clone(&site));
        Self {
            site,
            stats,
            desk: Desk::new(),
            router,
            resumen: routes::label(RESUMEN),
        }
    }

    /// Whether plain requests may be answered without the library: nobody has to wait, and no connection to end.
    pub(super) fn is_express(&self) -> bool {
        self.site.is_settled() && !self.site.is_draining()
    }

    /// The answer to a plain request with these fields.
    pub(super) fn respond(&self, rendering: &Rendering, fields: &HeaderMap) -> Response<Bytes> {
        let mut response = respond(rendering, fields);
        self.site
            .cors
            .mark(self.site.cors.allows(fields), response.headers_mut());
        response
    }

    /// Counts an answer of `/resumen`.
    pub(super) fn count_resumen(&self, status: StatusCode, began: Mark) {
        self.stats
            .count(self.resumen, status, self.site.clock.since(began));
    }

    /// Counts an answer that the library gave by itself, to what was no request yet.
    pub(super) fn count_unread(&self, status: StatusCode) {
        self.stats.count(routes::OTHER, status, Duration::ZERO);
    }

    /// The answer to exactly `GET` or `HEAD` `/resumen` without parameters, unless it has to wait for the first round.
    fn answer_at_once(&self, head: &Head, now: Time) -> Option<Response<Bytes>> {
        let plain = head.uri.path() == RESUMEN && head.uri.query().is_none();
        if !plain
            || !(head.method == Method::GET || head.method == Method::HEAD)
            || !self.site.is_settled()
        {
            return None;
        }
        let rendering = self.site.cache.current(now);
        Some(respond(&rendering, &head.headers))
    }
}

/// One connection's service.
pub(super) struct Front<F> {
    hall: Arc<Hall<F>>,
    conn: Arc<Conn>,
    heads: AtomicU32,
}

impl<F: Fetch> Front<F> {
    pub(super) fn new(hall: Arc<Hall<F>>, conn: Arc<Conn>) -> Self {
        Self {
            hall,
            conn,
            heads: AtomicU32::new(0),
        }
    }
}

impl<F: Fetch> Front<F> {
    /// The answer, or who makes it.
    fn decide(&self, head: Head, has_body: bool, began: Mark) -> Course {
        let fault = self.conn.fault(self.heads.fetch_add(1, Relaxed));
        let refused = guard::check(&head, has_body, fault)
            .err()
            .map(|problem| problem.response());
        match refused.or_else(|| self.hall.answer_at_once(&head, began.time)) {
            Some(response) => Course::Made(plain(response)),
            None => Course::Routed(self.route(head)),
        }
    }

    fn route(&self, mut head: Head) -> Routed {
        head.extensions.insert(Arc::clone(&self.conn));
        self.hall
            .router
            .clone()
            .call(Request::from_parts(head, axum::body::Body::empty()))
    }
}

impl<F: Fetch> hyper::service::Service<Request<Incoming>> for Front<F> {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answering<F>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.conn.answering();
        let (head, body) = request.into_parts();
        let hall = Arc::clone(&self.hall);
        let has_body = !body.is_end_stream();
        let marks = Marks::of(&head, &hall, has_body);
        let decided = rescued(|| self.decide(head, has_body, marks.began));
        let course = decided.unwrap_or_else(|problem| Course::Made(plain(problem.response())));
        Answering {
            hall,
            marks: Some(marks),
            course: Some(course),
            _body: body,
        }
    }
}

/// What of a request its answer depends on in the end.
struct Marks {
    began: Mark,
    label: usize,
    origin: Option<HeaderValue>,
    id: Option<HeaderValue>,
    has_body: bool,
}

impl Marks {
    fn of<F: Fetch>(head: &Head, hall: &Hall<F>, has_body: bool) -> Self {
        let path = head.uri.path();
        Self {
            began: hall.site.clock.mark(),
            label: if path == RESUMEN {
                hall.resumen
            } else {
                routes::label(path)
            },
            origin: hall.site.cors.allows(&head.headers),
            id: head.headers.get(&X_REQUEST_ID).map(usable_id),
            has_body,
        }
    }

    /// Adds what every answer has, and counts it.
    fn finish<F: Fetch>(self, hall: &Hall<F>, response: &mut Response<Reply>) {
        let status = response.status();
        let headers = response.headers_mut();
        // A route's empty body would be announced, but these have none to announce (RFC 9110 §8.6).
        if status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        }
        hall.site.cors.mark(self.origin, headers);
        if let Some(id) = self.id {
            headers.insert(X_REQUEST_ID, id);
        }
        // Nobody read the body, so nobody knows where the next request would begin.
        if self.has_body || hall.site.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let took = hall.site.clock.since(self.began);
        hall.stats
            .count(self.label.min(LABELS.len() - 1), status, took);
    }
}

/// A request's own identifier if it is short and visible, else a new one.
fn usable_id(sent: &HeaderValue) -> HeaderValue {
    let visible = sent.as_bytes().iter().all(u8::is_ascii_graphic);
    if visible && (1..=LONGEST_ID).contains(&sent.len()) {
        return sent.clone();
    }
    let fresh = format!("{:016x}", fastrand::u64(..));
    HeaderValue::from_str(&fresh).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

type Routed = <Router as tower::Service<Request<axum::body::Body>>>::Future;

/// How an answer comes about.
enum Course {
    /// It is there.
    Made(Response<Reply>),
    /// A route makes it.
    Routed(Routed),
}

/// An answer on its way.
pub(super) struct Answering<F> {
    hall: Arc<Hall<F>>,
    marks: Option<Marks>,
    course: Option<Course>,
    /// Held until the answer is made: a body that is dropped before is asked for with `100 Continue`.
    _body: Incoming,
}

impl<F: Fetch> Future for Answering<F> {
    type Output = Result<Response<Reply>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut response = match this.course.take() {
            Some(Course::Made(response)) => response,
            Some(Course::Routed(mut routed)) => match rescued(|| Pin::new(&mut routed).poll(cx)) {
                Ok(Poll::Ready(Ok(response))) => response.map(Reply::Routed),
                Ok(Poll::Pending) => {
                    this.course = Some(Course::Routed(routed));
                    return Poll::Pending;
                }
                Err(problem) => plain(problem.response()),
            },
            None => return Poll::Pending,
        };
        if let Some(marks) = this.marks.take() {
            marks.finish(&this.hall, &mut response);
        }
        Poll::Ready(Ok(response))
    }
}

fn plain(response: Response<Bytes>) -> Response<Reply> {
    response.map(|body| Reply::Plain(Full::new(body)))
}

/// An answer's body: whole, or from a route.
pub(super) enum Reply {
    Plain(Full<Bytes>),
    Routed(axum::body::Body),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Plain(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Routed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Routed(body) => body.size_hint(),
        }
    }
}
