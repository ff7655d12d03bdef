//! A stream that counts what comes over it and lets others have a turn: whatever a provider sends without end
//! (informational heads, empty TLS records, chunks of one byte), the layers above handle one burst of it, and then the
//! deadline is looked at. It stands below TLS, where a flood of records is seen, and above it, where an answer is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::ByteCounter;

/// Bytes that may be read in a row; the smallest things to be made of them take about a millisecond.
const MAX_BURST_BYTES: usize = 16 * 1024;

/// A paced stream.
pub(crate) struct ThrottledStream<S> {
    stream: S,
    counter: Arc<ByteCounter>,
    burst_bytes: usize,
}

impl<S> ThrottledStream<S> {
    /// Paces `stream`, and counts in `meter` what is read from it.
    pub(crate) fn new(stream: S, meter: Arc<ByteCounter>) -> Self {
        Self {
            stream,
            counter: meter,
            burst_bytes: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ThrottledStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.burst_bytes >= MAX_BURST_BYTES {
            self.burst_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buf.remaining().min(MAX_BURST_BYTES - self.burst_bytes);
        let mut burst = ReadBuf::new(buf.initialize_unfilled_to(room));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut burst);
        let more = burst.filled().len();
        buf.advance(more);
        self.counter.add_bytes(more);
        self.burst_bytes = if read.is_pending() {
            0
        } else {
            self.burst_bytes + more
        };
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ThrottledStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
