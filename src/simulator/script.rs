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
pub(super) struct Script {
    pieces: VecDeque<Bytes>,
    /// What the head announces.
    length: u64,
    pause: Option<Pause>,
    /// Whether the connection breaks once the pieces are sent.
    cut: bool,
    /// Until what was sent has left the buffers: a connection that breaks takes them with it.
    flushing: Option<Pin<Box<Sleep>>>,
}

/// Long enough for loopback.
const FLUSH: Duration = Duration::from_millis(20);

/// Between two pieces.
struct Pause {
    lasts: Duration,
    running: Pin<Box<Sleep>>,
}

impl Script {
    /// All of it at once.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::repeated(bytes, 1)
    }

    /// The same bytes over and over.
    pub(super) fn repeated(bytes: impl Into<Bytes>, times: usize) -> Self {
        let bytes: Bytes = bytes.into();
        let length = (bytes.len() * times) as u64;
        let pieces = std::iter::repeat_n(bytes, times)
            .filter(|piece| !piece.is_empty())
            .collect();
        Self {
            pieces,
            length,
            pause: None,
            cut: false,
            flushing: None,
        }
    }

    /// Only the first half, though the head announces all of it.
    pub(super) fn cut(mut self) -> Self {
        let mut left = (self.length / 2) as usize;
        for piece in &mut self.pieces {
            piece.truncate(left);
            left -= piece.len();
        }
        self.pieces.retain(|piece| !piece.is_empty());
        Self { cut: true, ..self }
    }

    /// One byte at a time, `pause` before each.
    pub(super) fn dripping(self, pause: Duration) -> Self {
        let byte = |piece: Bytes| (0..piece.len()).map(move |at| piece.slice(at..=at));
        let pieces = self.pieces.into_iter().flat_map(byte).collect();
        let pause = Pause {
            lasts: pause,
            running: Box::pin(tokio::time::sleep(pause)),
        };
        Self {
            pieces,
            pause: Some(pause),
            ..self
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.running.as_mut().poll(cx));
            pause.running = Box::pin(tokio::time::sleep(pause.lasts));
        }
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if !self.cut {
            return Poll::Ready(None);
        }
        let flushing = self
            .flushing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(FLUSH)));
        ready!(flushing.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
