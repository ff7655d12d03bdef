//! One connection to one provider, driven by the request that uses it. No task of its own: dropping it closes it.

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

use super::connector;
use super::deadline::ByteCounter;
use super::throttle::ThrottledStream;

/// The most bytes of an answer's head, and of the read buffer behind a body.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The most headers of an answer: hyper's own limit, which it keeps without an allocation as long as nobody sets it.
pub(crate) const MAX_HEADERS: usize = 100;

/// A connection, and what came over it since the last request was begun.
pub(crate) struct ProviderConnection {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Connection<ProviderIo, Full<Bytes>>>,
    counter: Arc<ByteCounter>,
}

type ProviderIo = TokioIo<ThrottledStream<Box<dyn connector::ConnectionStream>>>;

impl ProviderConnection {
    /// HTTP/1 over `stream`.
    pub(crate) async fn open(
        stream: Box<dyn connector::ConnectionStream>,
    ) -> Result<Self, hyper::Error> {
        let meter = Arc::<ByteCounter>::default();
        let io = TokioIo::new(ThrottledStream::new(stream, Arc::clone(&meter)));
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(io)
            .await?;
        Ok(Self {
            sender,
            connection: Some(connection),
            counter: meter,
        })
    }

    /// The counter of what has come since the request was begun.
    pub(crate) fn counter(&self) -> Arc<ByteCounter> {
        Arc::clone(&self.counter)
    }

    /// Sends `request` and waits for the answer's head.
    pub(crate) async fn send_request(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.counter.reset();
        let answer = self.sender.send_request(request);
        let connection = &mut self.connection;
        drive_until_ready(answer, |cx| poll_until_closed(connection, cx)).await
    }

    /// Lets the connection do what it can now; its errors reach whoever waits for the answer or its body.
    pub(crate) fn poll_connection(&mut self, cx: &mut Context<'_>) {
        poll_until_closed(&mut self.connection, cx);
    }

    /// Whether another request may be sent: the last answer has been read to its end, the provider allows it, and it
    /// has neither closed the connection nor sent anything unasked.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.poll_connection(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Waits for `answer` while `advance` moves the connection on which it comes.
pub(crate) async fn drive_until_ready<T>(
    answer: impl Future<Output = T>,
    mut advance: impl FnMut(&mut Context<'_>) -> bool,
) -> T {
    let mut answer = pin!(answer);
    let mut over = false;
    poll_fn(|cx| {
        over = over || advance(cx);
        answer.as_mut().poll(cx)
    })
    .await
}

/// Whether the connection is over. One that is over is dropped at once, and its descriptor with it.
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
