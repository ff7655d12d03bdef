//! A client's socket. Reads and writes are recorded in the connection's state.

use std::future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::process::{SendBudget, SendCharge};

use super::client_stream::ClientStream;
use super::connection_phase::ConnectionPhase;
use super::connection_state::ConnectionState;
use super::framing::FramingScanner;
use super::kernel_buffers::KERNEL_BUFFER_BYTES;
use super::route_access::ListenerScope;

/// Maximum bytes read and discarded while the connection closes.
const LINGER_BYTES: usize = 256 * 1024;

/// Send buffer of an event stream, in bytes. The kernel doubles the value for its own bookkeeping.
const SMALL_SEND_BUFFER: usize = 16 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientSocket {
    stream: ClientStream,
    connection: Arc<ConnectionState>,
    /// Which routes the connection's listener answers.
    pub(super) scope: ListenerScope,
    /// `None` for HTTP/2, whose framing hyper checks.
    framing_scanner: Option<FramingScanner>,
    /// Bytes that the fast path read and did not answer. Returned before new bytes.
    replayed_bytes: Bytes,
    budget: Arc<SendBudget>,
    /// Counts the kernel's buffers of the socket while the client does not read.
    stall_charge: Option<SendCharge>,
}

impl ClientSocket {
    pub(super) fn new(
        stream: ClientStream,
        connection: Arc<ConnectionState>,
        scope: ListenerScope,
        budget: Arc<SendBudget>,
    ) -> Self {
        Self {
            stream,
            connection,
            scope,
            framing_scanner: Some(FramingScanner::default()),
            replayed_bytes: Bytes::new(),
            budget,
            stall_charge: None,
        }
    }

    /// Makes the next reads return these bytes before new ones. The first of them begins a head.
    pub(super) fn replay_bytes(&mut self, bytes: Vec<u8>) {
        self.framing_scanner = Some(FramingScanner::default());
        if !bytes.is_empty() {
            self.connection.begin_head();
        }
        self.replayed_bytes = bytes.into();
    }

    /// The client's address; `None` for a Unix socket.
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        self.stream.peer_ip()
    }

    /// Leaves the check of the framing to hyper's implementation of HTTP/2.
    pub(super) fn begin_http2(&mut self) {
        self.connection.begin_http2();
        self.framing_scanner = None;
    }

    /// Whether bytes that were written wait in this process for the kernel to accept them.
    pub(super) fn has_unsent_bytes(&self) -> bool {
        self.stream.has_unsent_bytes()
    }

    /// Records that a response has begun.
    pub(super) fn begin_response(&self) {
        self.connection.begin_response();
    }

    /// Reads without the framing check, which starts with hyper's first read. `buf` may hold the
    /// first bytes of a request.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &poll {
            Poll::Pending => self.connection.await_request(filled_before > 0),
            Poll::Ready(_) if buf.filled().len() > filled_before => {
                self.connection.record_received();
            }
            Poll::Ready(_) => {}
        }
        poll
    }

    /// Shuts down the sending side, then reads and discards until the client closes. Closing a
    /// socket with unread bytes resets the connection, and the reset can destroy the last response
    /// in flight. A connection in the reserve ends when no byte is unread, because others wait for its place.
    pub(super) async fn close(mut self) {
        self.connection.enter_phase(ConnectionPhase::Closing);
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut remaining = LINGER_BYTES;
        // Boxed: the task of a connection would have room for it from its start.
        let mut discarded = Box::new([0; 2048]);
        while remaining > 0 {
            let is_reserved = self.connection.is_reserved();
            let reading = self.stream.read(&mut *discarded);
            tokio::select! {
                biased;
                read = reading => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => remaining = remaining.saturating_sub(count),
                },
                () = future::ready(()), if is_reserved => return,
            }
        }
    }

    /// Writes all of `bytes`, without a record in the connection's state.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled_before = buf.filled().len();
        if this.replayed_bytes.is_empty() {
            ready!(this.poll_fill(cx, buf))?;
        } else {
            let size = buf.remaining().min(this.replayed_bytes.len());
            buf.put_slice(&this.replayed_bytes.split_to(size));
        }
        let new_bytes = &buf.filled()[filled_before..];
        let scanner = this.framing_scanner.as_mut();
        if let Some((head, problem)) = scanner.and_then(|scanner| scanner.scan(new_bytes)) {
            this.connection.record_problem(head, problem);
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
        let poll = Pin::new(&mut this.stream).poll_flush(cx);
        if poll.is_pending() {
            this.record_stall();
        }
        ready!(poll)?;
        this.connection.record_flush();
        this.stall_charge = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl ClientSocket {
    fn apply_buffer_request(&self) {
        if self.connection.take_small_buffer_request() {
            // On failure the buffer stays large, which only makes a slow client's events older.
            let _ = SockRef::from(&self.stream).set_send_buffer_size(SMALL_SEND_BUFFER);
        }
    }

    fn record_stall(&mut self) {
        self.connection.record_stall();
        self.stall_charge
            .get_or_insert_with(|| self.budget.charge(KERNEL_BUFFER_BYTES));
    }

    fn record_write(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Pending => self.record_stall(),
            Poll::Ready(Ok(bytes)) => self.connection.record_written(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        poll
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        if self.connection.is_write_stalled() {
            // A reset frees the kernel's buffers, which would else be kept until the client reads them
            // or the kernel gives up after minutes. On failure the kernel does so.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
