//! The body of an HTTP/2 response, in parts whose progress is recorded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};

use crate::process::{SendBudget, SendCharge};

use super::connection_state::ConnectionState;
use super::http2_streams::ResponseProgress;

/// Maximum size of a part, in bytes: that of a frame. hyper takes a part of each response whether or not
/// the client accepts it.
const PART_BYTES: usize = 16 << 10;

/// What the state of a stream takes, in bytes, beside the fields of its request.
const STREAM_BYTES: usize = 4 << 10;

/// A response in progress, until its last part is written.
#[derive(Debug)]
pub(super) struct Http2Response {
    connection: Arc<ConnectionState>,
    progress: Arc<ResponseProgress>,
    /// Counts what the stream takes beside the response.
    _charge: SendCharge,
}

impl Http2Response {
    /// Begins the response of `connection`, which speaks HTTP/2, to a request with this head.
    pub(super) fn begin(
        connection: &Arc<ConnectionState>,
        budget: &Arc<SendBudget>,
        head: &HeaderMap,
    ) -> Arc<Self> {
        let fields = head.iter();
        let field_bytes: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        Arc::new(Self {
            progress: connection.begin_stream(),
            connection: Arc::clone(connection),
            _charge: budget.charge(STREAM_BYTES + field_bytes),
        })
    }
}

impl Drop for Http2Response {
    fn drop(&mut self) {
        self.connection.end_stream(&self.progress);
    }
}

/// A part that hyper keeps until it is written.
struct PendingPart {
    bytes: Bytes,
    response: Arc<Http2Response>,
}

impl PendingPart {
    fn hand_over(bytes: Bytes, response: &Arc<Http2Response>) -> Bytes {
        response
            .progress
            .begin_part(response.connection.advance_clock());
        Bytes::from_owner(Self {
            bytes,
            response: Arc::clone(response),
        })
    }
}

impl AsRef<[u8]> for PendingPart {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PendingPart {
    fn drop(&mut self) {
        let now = self.response.connection.advance_clock();
        self.response.progress.end_part(now);
    }
}

/// The body of a response, in parts whose progress is recorded.
pub(super) struct Http2Body {
    inner: Body,
    /// What is left of the latest part of `inner`.
    rest: Bytes,
    response: Arc<Http2Response>,
}

impl Http2Body {
    pub(super) fn new(inner: Body, response: Arc<Http2Response>) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            response,
        }
    }
}

impl hyper::body::Body for Http2Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let part = this.rest.split_to(this.rest.len().min(PART_BYTES));
        let part = PendingPart::hand_over(part, &this.response);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
