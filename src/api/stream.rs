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

use crate::render::{Rendering, SummaryVersion};

use super::query;
use super::state::AppState;
use crate::server::ConnectionState;
use crate::server::{ProblemDetails, ProblemKind};

/// Between two signs of life.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How long a client is asked to wait before it comes back: at least this, and up to twice as long, so that those of one
/// server do not all come at once.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Tells nginx and its kin to pass events on as they come.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The events of one client. A `Last-Event-ID` changes nothing.
pub(crate) async fn get_event_stream(
    State(site): State<Arc<AppState>>,
    Extension(conn): Extension<Arc<ConnectionState>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = query::require_no_parameters(query.as_deref().unwrap_or_default()) {
        return problem.into_response();
    }
    let Some(place) = site
        .stream_clients
        .try_acquire_permit(site.settings.max_connections)
    else {
        return stream_full_problem(&site).into_response();
    };
    conn.request_small_buffer();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (
        headers,
        axum::body::Body::new(EventStreamBody {
            connection: conn,
            pending_event: Box::pin(EventStream::new(site, place).next_event()),
        }),
    )
        .into_response()
}

fn stream_full_problem(site: &AppState) -> ProblemDetails {
    let most = max_stream_clients(site.settings.max_connections);
    let detail = format!(
        "it has {most} clients, half of server.max_connections; `/resumen` answers as ever"
    );
    ProblemDetails::new(ProblemKind::StreamFull, detail)
}

/// Half of the connections, so that whoever only asks now and then always finds one.
fn max_stream_clients(max_connections: usize) -> usize {
    (max_connections / 2).max(1)
}

/// How many clients there are.
#[derive(Debug, Default)]
pub(crate) struct StreamClients(Arc<AtomicUsize>);

impl StreamClients {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// A place for one more, unless there are as many as there may be.
    fn try_acquire_permit(&self, max_connections: usize) -> Option<StreamPermit> {
        let room = |count| (count < max_stream_clients(max_connections)).then_some(count + 1);
        self.0
            .fetch_update(Relaxed, Relaxed, room)
            .ok()
            .map(|_| StreamPermit(Arc::clone(&self.0)))
    }
}

/// A client's place in the count, given up when dropped.
struct StreamPermit(Arc<AtomicUsize>);

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

type NextEventFuture = Pin<Box<dyn Future<Output = Option<(EventStream, Bytes)>> + Send>>;

/// A feed as a body.
struct EventStreamBody {
    connection: Arc<ConnectionState>,
    pending_event: NextEventFuture,
}

impl Body for EventStreamBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        // The connection asks again once it has written what it holds.
        if this.connection.is_write_stalled() {
            return Poll::Pending;
        }
        let Some((feed, bytes)) = ready!(this.pending_event.as_mut().poll(cx)) else {
            return Poll::Ready(None);
        };
        this.pending_event = Box::pin(feed.next_event());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// What one client has been told, and what it waits for.
struct EventStream {
    site: Arc<AppState>,
    snapshot_changes: watch::Receiver<u64>,
    sent_version: Option<SummaryVersion>,
    heartbeat_at: Instant,
    state: StreamState,
    _permit: StreamPermit,
}

/// How far a feed has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    /// Nothing has been said.
    NotStarted,
    /// It goes on.
    Streaming,
    /// The last word is said.
    Ended,
}

enum StreamWakeup {
    CheckSnapshot,
    Heartbeat,
    Shutdown,
}

impl EventStream {
    fn new(site: Arc<AppState>, place: StreamPermit) -> Self {
        let changes = site.cache.subscribe();
        let heartbeat_at = site.clock.instant() + HEARTBEAT_INTERVAL;
        Self {
            site,
            snapshot_changes: changes,
            sent_version: None,
            heartbeat_at,
            state: StreamState::NotStarted,
            _permit: place,
        }
    }

    /// Waits for something to tell; none after the end.
    async fn next_event(mut self) -> Option<(Self, Bytes)> {
        if self.state == StreamState::NotStarted {
            self.state = StreamState::Streaming;
            return Some((self, format_retry_field().into()));
        }
        while self.state == StreamState::Streaming {
            self.snapshot_changes.mark_unchanged();
            let rendering = self.site.cache.current_rendering(self.site.clock.now());
            if self.sent_version != Some(rendering.version) {
                self.sent_version = Some(rendering.version);
                self.heartbeat_at = self.site.clock.instant() + HEARTBEAT_INTERVAL;
                // The same bytes for every client.
                let event = rendering
                    .encoded_bodies
                    .get_or_write_event(&rendering.body, rendering.version);
                return Some((self, event));
            }
            match self.wait_for_change(&rendering).await {
                StreamWakeup::CheckSnapshot => {}
                StreamWakeup::Heartbeat => {
                    self.heartbeat_at = self.site.clock.instant() + HEARTBEAT_INTERVAL;
                    return Some((self, Bytes::from_static(b":\n\n")));
                }
                StreamWakeup::Shutdown => {
                    self.state = StreamState::Ended;
                    return Some((self, format_retry_field().into()));
                }
            }
        }
        None
    }

    /// Until something is published, or something changes by its age alone.
    async fn wait_for_change(&mut self, rendering: &Rendering) -> StreamWakeup {
        let aged = rendering.unchanged_until.map(|edge| {
            let left = edge.since(self.site.clock.now()) + Duration::from_millis(1);
            self.site.clock.instant() + left
        });
        let wake_at = aged.map_or(self.heartbeat_at, |aged| aged.min(self.heartbeat_at));
        tokio::select! {
            changed = self.snapshot_changes.changed() => if changed.is_ok() { StreamWakeup::CheckSnapshot } else { StreamWakeup::Shutdown },
            () = sleep_until(wake_at) => if wake_at < self.heartbeat_at { StreamWakeup::CheckSnapshot } else { StreamWakeup::Heartbeat },
            () = self.site.wait_for_drain() => StreamWakeup::Shutdown,
        }
    }
}

/// When to come back, if the connection ends.
fn format_retry_field() -> String {
    let base = MIN_RETRY_DELAY.as_millis() as u64;
    format!("retry: {}\n\n", base + fastrand::u64(0..=base))
}
