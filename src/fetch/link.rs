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

use super::connect;
use super::paced::Paced;
use super::phase::Meter;

/// The most bytes of an answer's head, and of the read buffer behind a body.
pub(super) const HEAD: usize = 64 * 1024;

/// The most headers of an answer: hyper's own limit, which it keeps without an allocation as long as nobody sets it.
pub(super) const HEADERS: usize = 100;

/// A connection, and what came over it since the last request was begun.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Connection<Stream, Full<Bytes>>>,
    meter: Arc<Meter>,
}

type Stream = TokioIo<Paced<Box<dyn connect::Stream>>>;

impl Link {
    /// HTTP/1 over `stream`.
    pub(super) async fn open(stream: Box<dyn connect::Stream>) -> Result<Self, hyper::Error> {
        let meter = Arc::<Meter>::default();
        let io = TokioIo::new(Paced::new(stream, Arc::clone(&meter)));
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD)
            .max_header_size(HEAD)
            .handshake(io)
            .await?;
        Ok(Self {
            sender,
            connection: Some(connection),
            meter,
        })
    }

    /// The counter of what has come since the request was begun.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Sends `request` and waits for the answer's head.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.meter.reset();
        let answer = self.sender.send_request(request);
        let connection = &mut self.connection;
        drive(answer, |cx| advance(connection, cx)).await
    }

    /// Lets the connection do what it can now; its errors reach whoever waits for the answer or its body.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        advance(&mut self.connection, cx);
    }

    /// Whether another request may be sent: the last answer has been read to its end, the provider allows it, and it
    /// has neither closed the connection nor sent anything unasked.
    pub(super) fn is_idle(&mut self) -> bool {
        self.advance(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Waits for `answer` while `advance` moves the connection on which it comes.
pub(super) async fn drive<T>(
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
fn advance(connection: &mut Option<Connection<Stream, Full<Bytes>>>, cx: &mut Context<'_>) -> bool {
    if let Some(running) = connection
        && Pin::new(running).poll(cx).is_ready()
    {
        *connection = None;
    }
    connection.is_none()
}
