//! A stream that counts received bytes and yields to the runtime after each burst.
//!
//! A provider can send data without end that produces no progress (informational heads, empty TLS
//! records, chunks of one byte). The yield lets the deadline be checked between two bursts. The
//! stream is used twice: below TLS, which consumes empty records, and above it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::ByteCounter;

/// Maximum number of bytes read without a yield. Even as the smallest possible chunks they take
/// about 1 ms to process.
const MAX_BURST_BYTES: usize = 16 * 1024;

/// A stream that yields after each burst of reads.
pub(super) struct ThrottledStream<S> {
    stream: S,
    counter: Arc<ByteCounter>,
    burst_bytes: usize,
}

impl<S> ThrottledStream<S> {
    /// Wraps `stream`; `counter` counts the bytes read from it.
    pub(super) fn new(stream: S, counter: Arc<ByteCounter>) -> Self {
        Self {
            stream,
            counter,
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
        let limit = buf.remaining().min(MAX_BURST_BYTES - self.burst_bytes);
        let mut burst = ReadBuf::new(buf.initialize_unfilled_to(limit));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut burst);
        let count = burst.filled().len();
        buf.advance(count);
        self.counter.add_bytes(count);
        // A read that waits yields by itself and ends the burst.
        self.burst_bytes = if read.is_pending() {
            0
        } else {
            self.burst_bytes + count
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
