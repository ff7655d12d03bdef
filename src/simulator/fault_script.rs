//! A body that comes whole, byte by byte, over and over, or not to its end.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// What is sent, and how.
pub(crate) struct ScriptedBody {
    chunks: VecDeque<Bytes>,
    /// What the head announces.
    content_length: u64,
    chunk_delay: Option<ChunkDelay>,
    /// Whether the connection breaks once the pieces are sent.
    is_truncated: bool,
    /// Until what was sent has left the buffers: a connection that breaks takes them with it.
    flush_timer: Option<Pin<Box<Sleep>>>,
}

/// Long enough for loopback.
const FLUSH_DELAY: Duration = Duration::from_millis(20);

/// Between two pieces.
struct ChunkDelay {
    duration: Duration,
    timer: Pin<Box<Sleep>>,
}

impl ScriptedBody {
    /// All of it at once.
    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self::from_repeated(bytes, 1)
    }

    /// The same bytes over and over.
    pub(crate) fn from_repeated(bytes: impl Into<Bytes>, times: usize) -> Self {
        let bytes: Bytes = bytes.into();
        let length = (bytes.len() * times) as u64;
        let pieces = std::iter::repeat_n(bytes, times)
            .filter(|piece| !piece.is_empty())
            .collect();
        Self {
            chunks: pieces,
            content_length: length,
            chunk_delay: None,
            is_truncated: false,
            flush_timer: None,
        }
    }

    /// Only the first half, though the head announces all of it.
    pub(crate) fn with_truncation(mut self) -> Self {
        let mut left = (self.content_length / 2) as usize;
        for piece in &mut self.chunks {
            piece.truncate(left);
            left -= piece.len();
        }
        self.chunks.retain(|piece| !piece.is_empty());
        Self {
            is_truncated: true,
            ..self
        }
    }

    /// One byte at a time, `pause` before each.
    pub(crate) fn with_byte_interval(self, pause: Duration) -> Self {
        let byte = |piece: Bytes| (0..piece.len()).map(move |at| piece.slice(at..=at));
        let pieces = self.chunks.into_iter().flat_map(byte).collect();
        let pause = ChunkDelay {
            duration: pause,
            timer: Box::pin(tokio::time::sleep(pause)),
        };
        Self {
            chunks: pieces,
            chunk_delay: Some(pause),
            ..self
        }
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.chunk_delay {
            ready!(pause.timer.as_mut().poll(cx));
            pause.timer = Box::pin(tokio::time::sleep(pause.duration));
        }
        if let Some(piece) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if !self.is_truncated {
            return Poll::Ready(None);
        }
        let flushing = self
            .flush_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(FLUSH_DELAY)));
        ready!(flushing.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && !self.is_truncated
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content_length)
    }
}
