//! A byte stream to Redis: TCP, TLS or a Unix socket, with a limit on unexpected bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::redis_address::RedisAddress;

/// Maximum number of bytes received between two replies that were understood.
const MAX_UNANSWERED_BYTES: usize = 32 << 20;

/// A stream of bytes in both directions.
trait RedisByteIo: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> RedisByteIo for S {}

/// A connection that fails when it receives more than Redis would ever send. Another program may
/// listen at the address, and the client buffers all bytes that it has not understood yet.
pub(super) struct RedisStream {
    stream: Box<dyn RedisByteIo>,
    read_budget: ReadBudget,
}

/// The number of bytes that may still be received. Cheap to clone.
#[derive(Clone)]
pub(super) struct ReadBudget(Arc<AtomicUsize>);

impl ReadBudget {
    /// Restores the full budget after a reply that was understood.
    pub(super) fn reset(&self) {
        self.0.store(MAX_UNANSWERED_BYTES, Relaxed);
    }
}

impl RedisStream {
    /// Connects to `address`. The caller limits the time.
    pub(super) async fn connect(address: &RedisAddress) -> io::Result<(Self, ReadBudget)> {
        let stream: Box<dyn RedisByteIo> = match address {
            RedisAddress::Tcp(host, port) => Box::new(connect_tcp(host, *port).await?),
            RedisAddress::Tls(host, port) => {
                Box::new(connect_tls(host, connect_tcp(host, *port).await?).await?)
            }
            RedisAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        let read_budget = ReadBudget(Arc::new(AtomicUsize::new(MAX_UNANSWERED_BYTES)));
        Ok((
            Self {
                stream,
                read_budget: read_budget.clone(),
            },
            read_budget,
        ))
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Starts TLS with the public certificate authorities. The verification cannot be disabled.
async fn connect_tls(
    host: &str,
    stream: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

impl AsyncRead for RedisStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let received = buf.filled().len().saturating_sub(before);
        let left = self.read_budget.0.load(Relaxed);
        self.read_budget
            .0
            .store(left.saturating_sub(received), Relaxed);
        if received >= left {
            return Poll::Ready(Err(io::Error::other("it sends more than Redis would")));
        }
        polled
    }
}

impl AsyncWrite for RedisStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
