//! `/resumen/stream`: the snapshot now, and again after every change, as Server-Sent Events.
//!
//! A client gets the newest version whenever it can take one. Nothing is queued for it: while it takes nothing, nothing
//! is made, and if that lasts, the connection's write deadline ends it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use hyper::body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::fetch::Fetch;
use crate::render::{Rendering, Version};

use super::Site;
use super::connection::Conn;
use super::query;

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client is asked to wait before it comes back: at least this, and up to twice as long, so that those of one
/// server do not all come at once.
const RETRY: Duration = Duration::from_secs(2);

/// Tells nginx and its kin to pass events on as they come.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The events of one client. A `Last-Event-ID` changes nothing.
pub(super) async fn answer<F: Fetch>(
    State(site): State<Arc<Site<F>>>,
    Extension(conn): Extension<Arc<Conn>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = query::nothing_but_busters(query.as_deref().unwrap_or_default()) {
        return problem.into_response();
    }
    conn.keeps_little();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, axum::body::Body::new(Events { conn, next: Box::pin(Feed::new(site).next()) })).into_response()
}

/// How many clients there are.
#[derive(Debug, Default)]
pub(super) struct Clients(AtomicUsize);

impl Clients {
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

type Next<F> = Pin<Box<dyn Future<Output = Option<(Feed<F>, Bytes)>> + Send>>;

/// A feed as a body.
struct Events<F> {
    conn: Arc<Conn>,
    next: Next<F>,
}

impl<F: Fetch> Body for Events<F> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        // The connection asks again once it has written what it holds.
        if this.conn.is_stalled() {
            return Poll::Pending;
        }
        let Some((feed, bytes)) = ready!(this.next.as_mut().poll(cx)) else { return Poll::Ready(None) };
        this.next = Box::pin(feed.next());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// What one client has been told, and what it waits for.
struct Feed<F> {
    site: Arc<Site<F>>,
    changes: watch::Receiver<u64>,
    told: Option<Version>,
    heartbeat_at: Instant,
    ended: bool,
}

enum Event {
    Look,
    Heartbeat,
    End,
}

impl<F: Fetch> Feed<F> {
    fn new(site: Arc<Site<F>>) -> Self {
        site.streams.0.fetch_add(1, Relaxed);
        let changes = site.cache.subscribe();
        let heartbeat_at = site.clock.instant() + HEARTBEAT;
        Self { site, changes, told: None, heartbeat_at, ended: false }
    }

    /// Waits for something to tell; none after the end.
    async fn next(mut self) -> Option<(Self, Bytes)> {
        while !self.ended {
            self.changes.mark_unchanged();
            let rendering = self.site.cache.current(self.site.clock.now());
            if self.told != Some(rendering.version) {
                let first = self.told.replace(rendering.version).is_none();
                self.heartbeat_at = self.site.clock.instant() + HEARTBEAT;
                return Some((self, event(&rendering, first)));
            }
            match self.wait(&rendering).await {
                Event::Look => {}
                Event::Heartbeat => {
                    self.heartbeat_at = self.site.clock.instant() + HEARTBEAT;
                    return Some((self, Bytes::from_static(b":\n\n")));
                }
                Event::End => {
                    self.ended = true;
                    return Some((self, retry().into()));
                }
            }
        }
        None
    }

    /// Until something is published, or something changes by its age alone.
    async fn wait(&mut self, rendering: &Rendering) -> Event {
        let aged = rendering.changes_after.map(|edge| {
            let left = edge.since(self.site.clock.now()) + Duration::from_millis(1);
            self.site.clock.instant() + left
        });
        let wake_at = aged.map_or(self.heartbeat_at, |aged| aged.min(self.heartbeat_at));
        tokio::select! {
            changed = self.changes.changed() => if changed.is_ok() { Event::Look } else { Event::End },
            () = sleep_until(wake_at) => if wake_at < self.heartbeat_at { Event::Look } else { Event::Heartbeat },
            () = self.site.drained() => Event::End,
        }
    }
}

impl<F> Drop for Feed<F> {
    fn drop(&mut self) {
        self.site.streams.0.fetch_sub(1, Relaxed);
    }
}

fn event(rendering: &Rendering, first: bool) -> Bytes {
    let event = rendering.forms.event(&rendering.body, rendering.version);
    if first { [retry().into_bytes(), event.to_vec()].concat().into() } else { event }
}

fn retry() -> String {
    let base = RETRY.as_millis() as u64;
    format!("retry: {}\n\n", base + fastrand::u64(0..=base))
}
