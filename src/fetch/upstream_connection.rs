//! HTTP/1.1 connection to a provider. The request that uses it also polls it, so there is no
//! background task, and dropping the connection closes it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::deadline::ByteCounter;
use super::throttle::ThrottledStream;

/// Maximum size of a response head, and of the read buffer of a body, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Maximum number of response headers: hyper's default, for which it does not allocate. It is not
/// set explicitly, because hyper allocates for an explicit limit.
pub(super) const MAX_HEADERS: usize = 100;

/// Stream below a connection: TCP or TLS.
pub(super) trait ConnectionStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ConnectionStream for S {}

/// Connection to a provider, with a counter of the bytes received since the last request.
pub(super) struct ProviderConnection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once closed.
    connection: Option<Connection<ProviderIo, Full<Bytes>>>,
    counter: Arc<ByteCounter>,
}

type ProviderIo = TokioIo<ThrottledStream<Box<dyn ConnectionStream>>>;

impl ProviderConnection {
    /// Starts HTTP/1.1 over `stream`.
    pub(super) async fn open(stream: Box<dyn ConnectionStream>) -> Result<Self, hyper::Error> {
        let counter = Arc::<ByteCounter>::default();
        let io = TokioIo::new(ThrottledStream::new(stream, Arc::clone(&counter)));
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(io)
            .await?;
        Ok(Self {
            sender,
            connection: Some(connection),
            counter,
        })
    }

    /// Returns the counter of the bytes received since the last request.
    pub(super) fn counter(&self) -> Arc<ByteCounter> {
        Arc::clone(&self.counter)
    }

    /// Sends `request` and waits for the response head.
    pub(super) async fn send_request(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.counter.reset();
        let response = self.sender.send_request(request);
        let connection = &mut self.connection;
        drive_until_ready(response, |cx| poll_until_closed(connection, cx)).await
    }

    /// Polls the connection once. Its errors are returned to the response future or the body.
    pub(super) fn poll_connection(&mut self, cx: &mut Context<'_>) {
        poll_until_closed(&mut self.connection, cx);
    }

    /// Returns whether the connection can send another request: the last response was read to its
    /// end, keep-alive is allowed, and the provider has neither closed the connection nor sent
    /// further bytes.
    pub(super) fn is_idle(&mut self) -> bool {
        self.poll_connection(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Waits for `response` while `poll_connection` drives its connection and returns whether that
/// closed.
pub(super) async fn drive_until_ready<T>(
    response: impl Future<Output = T>,
    mut poll_connection: impl FnMut(&mut Context<'_>) -> bool,
) -> T {
    let mut response = pin!(response);
    let mut is_closed = false;
    poll_fn(|cx| {
        // A future must not be polled again after it is ready.
        is_closed = is_closed || poll_connection(cx);
        response.as_mut().poll(cx)
    })
    .await
}

/// Polls the connection; returns whether it is closed. A closed one is dropped, with its
/// descriptor.
fn poll_until_closed(
    connection: &mut Option<Connection<ProviderIo, Full<Bytes>>>,
    cx: &mut Context<'_>,
) -> bool {
    if let Some(running) = connection
        && Pin::new(running).poll(cx).is_ready()
    {
        *connection = None;
    }
    connection.is_none()
}
