//! The byte stream of a client: TCP, TLS or a Unix socket.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::kernel_buffers;
use super::tls_socket::TlsSocket;

/// An accepted connection that does not block and is registered with no runtime.
#[derive(Debug)]
pub(super) enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A connection that is registered with the runtime of its worker.
#[derive(Debug)]
pub(super) enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed, because most of the time it is not this one, which is larger.
    Tls(Box<TlsStream<TlsSocket>>),
}

impl AcceptedStream {
    /// The client's address; `None` for a Unix socket, or if the client has reset the connection.
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => Some(stream.peer_addr().ok()?.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Registers the connection with the current runtime. Fails only if the client has reset it.
    pub(super) fn register(self) -> io::Result<ClientStream> {
        Ok(match self {
            Self::Tcp(stream) => ClientStream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => {
                kernel_buffers::limit_unix(&stream)?;
                ClientStream::Unix(UnixStream::from_std(stream)?)
            }
        })
    }
}

impl ClientStream {
    /// Like [`AcceptedStream::peer_ip`].
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => Some(stream.peer_addr().ok()?.ip()),
            Self::Tls(stream) => Some(stream.get_ref().0.tcp().peer_addr().ok()?.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Whether bytes that were written wait in this process for the kernel to accept them.
    pub(super) fn has_unsent_bytes(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.wants_write())
    }
}

/// Calls a method of the stream of each kind.
macro_rules! delegate {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            ClientStream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            ClientStream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            ClientStream::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Self::Tls(stream) = this else {
            let this = Pin::new(this);
            return delegate!(this.poll_read(cx, buf));
        };
        let filled_before = buf.filled().len();
        ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
        if buf.filled().len() > filled_before {
            stream.get_mut().0.record_content();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_shutdown(cx))
    }
}

impl AsFd for AcceptedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsFd for ClientStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}
