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
use super::problem::{Kind, Problem};
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
    let Some(place) = site.streams.enter(site.settings.max_connections) else {
        return full(&site).into_response();
    };
    conn.keeps_little();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ];
    (
        headers,
        axum::body::Body::new(Events {
            conn,
            next: Box::pin(Feed::new(site, place).next()),
        }),
    )
        .into_response()
}

fn full<F: Fetch>(site: &Site<F>) -> Problem {
    let most = most(site.settings.max_connections);
    let detail = format!(
        "it has {most} clients, half of server.max_connections; `/resumen` answers as ever"
    );
    Problem::new(Kind::StreamFull, detail)
}

/// Half of the connections, so that whoever only asks now and then always finds one.
fn most(max_connections: usize) -> usize {
    (max_connections / 2).max(1)
}

/// How many clients there are.
#[derive(Debug, Default)]
pub(super) struct Clients(Arc<AtomicUsize>);

impl Clients {
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// A place for one more, unless there are as many as there may be.
    fn enter(&self, max_connections: usize) -> Option<Place> {
        let room = |count| (count < most(max_connections)).then_some(count + 1);
        self.0
            .fetch_update(Relaxed, Relaxed, room)
            .ok()
            .map(|_| Place(Arc::clone(&self.0)))
    }
}

/// A client's place in the count, given up when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
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

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        // The connection asks again once it has written what it holds.
        if this.conn.is_stalled() {
            return Poll::Pending;
        }
        let Some((feed, bytes)) = ready!(this.next.as_mut().poll(cx)) else {
            return Poll::Ready(None);
        };
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
    progress: Progress,
    _place: Place,
}

/// How far a feed has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing has been said.
    Begun,
    /// It goes on.
    Told,
    /// The last word is said.
    Ended,
}

enum Event {
    Look,
    Heartbeat,
    End,
}

impl<F: Fetch> Feed<F> {
    fn new(site: Arc<Site<F>>, place: Place) -> Self {
        let changes = site.cache.subscribe();
        let heartbeat_at = site.clock.instant() + HEARTBEAT;
        Self {
            site,
            changes,
            told: None,
            heartbeat_at,
            progress: Progress::Begun,
            _place: place,
        }
    }

    /// Waits for something to tell; none after the end.
    async fn next(mut self) -> Option<(Self, Bytes)> {
        if self.progress == Progress::Begun {
            self.progress = Progress::Told;
            return Some((self, retry().into()));
        }
        while self.progress == Progress::Told {
            self.changes.mark_unchanged();
            let rendering = self.site.cache.current(self.site.clock.now());
            if self.told != Some(rendering.version) {
                self.told = Some(rendering.version);
                self.heartbeat_at = self.site.clock.instant() + HEARTBEAT;
                // The same bytes for every client.
                let event = rendering.forms.event(&rendering.body, rendering.version);
                return Some((self, event));
            }
            match self.wait(&rendering).await {
                Event::Look => {}
                Event::Heartbeat => {
                    self.heartbeat_at = self.site.clock.instant() + HEARTBEAT;
                    return Some((self, Bytes::from_static(b":\n\n")));
                }
                Event::End => {
                    self.progress = Progress::Ended;
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

/// When to come back, if the connection ends.
fn retry() -> String {
    let base = RETRY.as_millis() as u64;
    format!("retry: {}\n\n", base + fastrand::u64(0..=base))
}
