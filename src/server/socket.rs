//! A client's socket, which tells its connection's state what passes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::connection_state::{ConnectionPhase, ConnectionState};
use super::framing::FramingScanner;

/// Bytes that we are ready to throw away meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// A client's socket that tells its connection's state what passes.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    stream: TcpStream,
    conn: Arc<ConnectionState>,
    framing_scanner: FramingScanner,
    /// What was read before, for whoever reads next.
    replayed_bytes: Bytes,
}

impl ClientSocket {
    pub(crate) fn new(stream: TcpStream, conn: Arc<ConnectionState>) -> Self {
        Self {
            stream,
            conn,
            framing_scanner: FramingScanner::default(),
            replayed_bytes: Bytes::new(),
        }
    }

    /// Gives these bytes to whoever reads next, before what comes.
    pub(crate) fn replay_bytes(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.conn.begin_head();
        }
        self.replayed_bytes = bytes.into();
    }

    /// A request is being answered.
    pub(crate) fn begin_response(&self) {
        self.conn.begin_response();
    }

    /// Reads past the lines' watch, which begins where the library does. `buf` may hold the beginning of a request.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &poll {
            Poll::Pending => self.conn.await_request(before > 0),
            Poll::Ready(_) if buf.filled().len() > before => self.conn.record_received(),
            Poll::Ready(_) => {}
        }
        poll
    }

    /// Says that nothing more comes, then reads on for a while: closing a socket with unread bytes resets it, and a
    /// reset can destroy our last answer on its way.
    pub(crate) async fn close(mut self) {
        self.conn.enter_phase(ConnectionPhase::Closing);
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES;
        let mut waste = [0; 2048];
        while left > 0 {
            match self.stream.read(&mut waste).await {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }

    /// Writes outside of the library.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

/// What the kernel holds for a client of the stream, in bytes; it doubles this for its own use.
const SMALL_SEND_BUFFER: usize = 16 * 1024;

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.replayed_bytes.is_empty() {
            ready!(this.poll_fill(cx, buf))?;
        } else {
            let size = buf.remaining().min(this.replayed_bytes.len());
            buf.put_slice(&this.replayed_bytes.split_to(size));
        }
        if let Some((head, fault)) = this.framing_scanner.scan(&buf.filled()[before..]) {
            this.conn.record_problem(head, fault);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.apply_buffer_request();
        let poll = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.record_write(poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.apply_buffer_request();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.record_write(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.conn.record_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl ClientSocket {
    fn apply_buffer_request(&self) {
        if self.conn.take_small_buffer_request() {
            // A kernel that refuses holds more; nothing else changes.
            let _ = SockRef::from(&self.stream).set_send_buffer_size(SMALL_SEND_BUFFER);
        }
    }

    fn record_write(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Pending => self.conn.record_stall(),
            Poll::Ready(Ok(bytes)) => self.conn.record_written(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        poll
    }
}
