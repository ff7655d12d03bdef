//! The socket below TLS. rustls keeps what it has received until it is a whole record or a whole message of the
//! handshake, up to 64 KiB.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::process::{SendBudget, SendCharge};

use super::connection_state::ConnectionState;

/// Maximum bytes received without any of a request: a record, or a handshake with certificates of the client.
const MAX_KEPT_BYTES: usize = 32 << 10;

/// Up to this, the bytes are part of what every connection takes. The handshake of a client without a certificate has
/// fewer.
const UNCOUNTED_BYTES: usize = 4 << 10;

/// The socket below TLS. Counts what rustls keeps.
#[derive(Debug)]
pub(super) struct TlsSocket {
    stream: TcpStream,
    connection: Arc<ConnectionState>,
    budget: Arc<SendBudget>,
    /// Bytes received since the last byte of a request.
    kept_bytes: usize,
    /// Counts these bytes once they are many.
    charge: Option<SendCharge>,
    /// Whether the first message of the client was whole and has its answer.
    has_answered: bool,
}

impl TlsSocket {
    pub(super) fn new(
        stream: TcpStream,
        connection: Arc<ConnectionState>,
        budget: Arc<SendBudget>,
    ) -> Self {
        Self {
            stream,
            connection,
            budget,
            kept_bytes: 0,
            charge: None,
            has_answered: false,
        }
    }

    /// The socket of the system.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Records that bytes of a request were decrypted.
    pub(super) fn record_content(&mut self) {
        self.kept_bytes = 0;
        self.charge = None;
    }

    fn record_answer(&mut self) {
        if !std::mem::replace(&mut self.has_answered, true) {
            self.connection.end_first_message();
        }
    }

    fn record_received(&mut self, bytes: usize) -> io::Result<()> {
        self.kept_bytes += bytes;
        if !self.has_answered {
            self.connection.record_received();
        }
        if self.kept_bytes > MAX_KEPT_BYTES {
            let message = "the client sends TLS without a request";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if self.kept_bytes > UNCOUNTED_BYTES && self.charge.is_none() {
            // From here on the client is one that sends a head slowly.
            self.connection.record_received();
            self.charge = Some(self.budget.charge(MAX_KEPT_BYTES));
        }
        Ok(())
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled_before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        Poll::Ready(this.record_received(buf.filled().len() - filled_before))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.record_answer();
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.record_answer();
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl AsFd for TlsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
