//! `/resumen/stream`: the snapshot or some of its sources, once at the start and after every change, as Server-Sent
//! Events.
//!
//! A client receives the newest version whenever it can take one. No event is queued: while the
//! client's receive window is full, no event is built, and if that lasts the connection's write
//! deadline closes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::aggregate::Selection;
use crate::render::{EventName, Rendering, SummaryVersion};
use crate::server::{AccessGrant, ConnectionState, ProblemDetails, ProblemKind};

use super::query::{STREAM_PARAMETERS, SummaryQuery};
use super::state::AppState;
use super::stream_clients::{StreamPermit, max_stream_clients};

/// Time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Time until a large summary is tried again that did not find a place in the queue.
const BUSY_DELAY: Duration = Duration::from_millis(100);

/// Minimum of the `retry` field: how long a client waits before it reconnects. The maximum is twice
/// as long; the random part spreads the clients of a server that restarts.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Disables response buffering in nginx and compatible proxies.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The event stream of one client. `Last-Event-ID` is ignored: the first event is always the
/// current snapshot.
pub(super) async fn get_event_stream(
    State(state): State<Arc<AppState>>,
    Extension(connection): Extension<Arc<ConnectionState>>,
    Extension(grant): Extension<AccessGrant>,
    RawQuery(query): RawQuery,
) -> Result<Response, ProblemDetails> {
    let query = SummaryQuery::parse(
        query.as_deref().unwrap_or_default(),
        STREAM_PARAMETERS,
        state.server.cache.snapshot().source_set(),
        state.server.settings.max_timeout,
    )?;
    let connections = state.server.connection_limits.connections;
    let Some(permit) = state.stream_clients.try_acquire_permit(connections) else {
        let limit = max_stream_clients(connections);
        let detail = format!(
            "the event stream has {limit} clients, half of all connections that are allowed; `/resumen` is still available"
        );
        return Err(ProblemDetails::new(ProblemKind::StreamFull, detail));
    };
    // Events in a large buffer would be out of date when a slow client reads them.
    connection.request_small_buffer();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let body = EventStreamBody {
        connection,
        next_event: Box::pin(EventStream::new(state, query, permit, grant).next_event()),
    };
    Ok((headers, Body::new(body)).into_response())
}

type NextEventFuture = Pin<Box<dyn Future<Output = Option<(EventStream, Bytes)>> + Send>>;

/// An [`EventStream`] as a response body.
struct EventStreamBody {
    connection: Arc<ConnectionState>,
    next_event: NextEventFuture,
}

impl HttpBody for EventStreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        // No waker is needed: hyper polls the body again when the socket has taken what is
        // buffered.
        if this.connection.is_write_stalled() {
            return Poll::Pending;
        }
        let Some((stream, bytes)) = ready!(this.next_event.as_mut().poll(cx)) else {
            return Poll::Ready(None);
        };
        this.next_event = Box::pin(stream.next_event());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// The event stream of one client.
struct EventStream {
    app: Arc<AppState>,
    selection: Selection,
    event_name: EventName,
    snapshot_changes: watch::Receiver<u64>,
    /// Version of the latest event.
    sent_version: Option<SummaryVersion>,
    heartbeat_at: Instant,
    state: StreamState,
    grant: AccessGrant,
    _permit: StreamPermit,
}

/// Progress of an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    /// Nothing has been sent.
    NotStarted,
    /// The `retry` field has been sent; events follow.
    Streaming,
    /// The final `retry` field has been sent.
    Ended,
}

/// Why a wait for the next event ended.
enum StreamWakeup {
    /// The snapshot's version may have changed.
    CheckSnapshot,
    /// No event was sent for [`HEARTBEAT_INTERVAL`].
    Heartbeat,
    /// The server drains.
    Shutdown,
}

impl EventStream {
    fn new(
        app: Arc<AppState>,
        query: SummaryQuery,
        permit: StreamPermit,
        grant: AccessGrant,
    ) -> Self {
        Self {
            selection: Selection {
                names: query.sources,
                timeout: None,
                form: query.form,
            },
            event_name: query.event,
            snapshot_changes: app.server.cache.subscribe(),
            sent_version: None,
            heartbeat_at: app.server.clock.instant() + HEARTBEAT_INTERVAL,
            state: StreamState::NotStarted,
            app,
            grant,
            _permit: permit,
        }
    }

    /// Waits for the next bytes to send; `None` after the end.
    async fn next_event(mut self) -> Option<(Self, Bytes)> {
        if self.state == StreamState::NotStarted {
            self.state = StreamState::Streaming;
            return Some((self, format_retry_field().into()));
        }
        while self.state == StreamState::Streaming {
            // The stream of a token that a reload has revoked ends at its next event or heartbeat.
            if !self.app.server.access.is_still_granted(&self.grant) {
                return None;
            }
            // Marked before the snapshot is read: a change in between wakes the wait below.
            self.snapshot_changes.mark_unchanged();
            let Ok(rendering) = self.app.render_snapshot(&self.selection).await else {
                // Clients of the stream wait for a place; they would lose events if they were refused.
                sleep_until(self.app.server.clock.instant() + BUSY_DELAY).await;
                continue;
            };
            if self.sent_version != Some(rendering.version) {
                self.sent_version = Some(rendering.version);
                self.heartbeat_at = self.app.server.clock.instant() + HEARTBEAT_INTERVAL;
                // All clients share the bytes of one event.
                let event = rendering
                    .encoded_bodies
                    .get_or_write_event(self.event_name, rendering.version);
                return Some((self, event));
            }
            match self.wait_for_change(&rendering).await {
                StreamWakeup::CheckSnapshot => {}
                StreamWakeup::Heartbeat => {
                    self.heartbeat_at = self.app.server.clock.instant() + HEARTBEAT_INTERVAL;
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

    /// Waits for a publication, the next change of version by age alone, the heartbeat, or the
    /// drain.
    async fn wait_for_change(&mut self, rendering: &Rendering) -> StreamWakeup {
        let server = &self.app.server;
        let ages_at = rendering.unchanged_until.map(|last_instant| {
            // One millisecond later, since the rendering is still valid at its last instant.
            let remaining = last_instant.since(server.clock.now()) + Duration::from_millis(1);
            server.clock.instant() + remaining
        });
        let wake_at = ages_at.map_or(self.heartbeat_at, |at| at.min(self.heartbeat_at));
        tokio::select! {
            // The sender is dropped only when the program stops.
            changed = self.snapshot_changes.changed() => match changed {
                Ok(()) => StreamWakeup::CheckSnapshot,
                Err(_) => StreamWakeup::Shutdown,
            },
            () = sleep_until(wake_at) => if wake_at < self.heartbeat_at {
                StreamWakeup::CheckSnapshot
            } else {
                StreamWakeup::Heartbeat
            },
            () = server.wait_for_drain() => StreamWakeup::Shutdown,
        }
    }
}

/// The `retry` field, with a random delay.
fn format_retry_field() -> String {
    let min = MIN_RETRY_DELAY.as_millis() as u64;
    format!("retry: {}\n\n", min + fastrand::u64(0..=min))
}
