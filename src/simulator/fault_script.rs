//! A response body that is sent at once, repeated, byte by byte, or truncated.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// Time between the last chunk of a truncated body and the abort. An abort discards what the buffers still hold; this
/// is long enough for loopback.
const FLUSH_DELAY: Duration = Duration::from_millis(20);

/// A body that follows a script of faults.
pub(crate) struct ScriptedBody {
    chunks: VecDeque<Bytes>,
    /// Value of `Content-Length`, also if the body is truncated.
    content_length: u64,
    chunk_delay: Option<ChunkDelay>,
    /// Whether the connection is aborted after the last chunk.
    is_truncated: bool,
    /// Runs for [`FLUSH_DELAY`] after the last chunk of a truncated body.
    flush_timer: Option<Pin<Box<Sleep>>>,
}

/// The pause before each chunk.
struct ChunkDelay {
    duration: Duration,
    timer: Pin<Box<Sleep>>,
}

impl ScriptedBody {
    /// Returns a body that is sent at once.
    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::from_repeated(bytes, 1)
    }

    /// Returns a body of the same bytes, `times` times.
    pub(crate) fn from_repeated(bytes: impl Into<Bytes>, times: usize) -> Self {
        let bytes: Bytes = bytes.into();
        let content_length = (bytes.len() * times) as u64;
        let mut chunks: VecDeque<Bytes> = std::iter::repeat_n(bytes, times).collect();
        chunks.retain(|chunk| !chunk.is_empty());
        Self {
            chunks,
            content_length,
            chunk_delay: None,
            is_truncated: false,
            flush_timer: None,
        }
    }

    /// Keeps the first half of the body and announces all of it.
    pub(crate) fn with_truncation(mut self) -> Self {
        // `content_length` stays: only by it can the client detect the truncation.
        let mut remaining = (self.content_length / 2) as usize;
        for chunk in &mut self.chunks {
            chunk.truncate(remaining);
            remaining -= chunk.len();
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.is_truncated = true;
        self
    }

    /// Splits the body into single bytes with a pause of `interval` before each.
    pub(crate) fn with_byte_interval(mut self, interval: Duration) -> Self {
        let bytes = |chunk: Bytes| (0..chunk.len()).map(move |at| chunk.slice(at..=at));
        self.chunks = self.chunks.into_iter().flat_map(bytes).collect();
        self.chunk_delay = Some(ChunkDelay {
            duration: interval,
            timer: Box::pin(tokio::time::sleep(interval)),
        });
        self
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(delay) = &mut self.chunk_delay {
            ready!(delay.timer.as_mut().poll(cx));
            delay.timer = Box::pin(tokio::time::sleep(delay.duration));
        }
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if !self.is_truncated {
            return Poll::Ready(None);
        }
        let timer = self
            .flush_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(FLUSH_DELAY)));
        ready!(timer.as_mut().poll(cx));
        // hyper aborts the connection at an error of the body.
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn is_end_stream(&self) -> bool {
        // Without the second condition, hyper would end a truncated body without polling for the error.
        self.chunks.is_empty() && !self.is_truncated
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content_length)
    }
}
