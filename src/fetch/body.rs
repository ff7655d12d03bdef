//! An answer's body: read to the end of its framing, undone of its coding, never more than the limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, ReadBuf};

use crate::domain::{Code, Failure};

use super::head::{self, Coding};
use super::link::Link;
use super::phase::Meter;
use super::text;

/// Decoded bytes asked for at a time; between two such pieces the deadline is looked at.
const PIECE: usize = 16 * 1024;

/// zstd's window, as a power of two; RFC 9659 sets 8 MiB for content codings.
const WINDOW: u32 = 23;

/// A body on its way, with the connection that it comes over.
pub(super) struct Wire<'l> {
    link: &'l mut Link,
    body: Incoming,
    /// Come but not yet taken.
    piece: Bytes,
    /// What has come in all.
    meter: &'l Meter,
    /// No coding makes a body longer than this without intent.
    most: u64,
    stopped: Option<Stop>,
}

/// Why no more comes.
enum Stop {
    /// The end of the framing.
    End,
    /// The limit was passed.
    TooLarge,
    /// The connection or the framing broke.
    Broken(hyper::Error),
}

impl<'l> Wire<'l> {
    /// `body` over `link`, counted by `meter`, for a limit of `limit` decoded bytes.
    pub(super) fn new(link: &'l mut Link, body: Incoming, meter: &'l Meter, limit: u64) -> Self {
        meter.reset();
        let most = limit.saturating_add(limit / 16).saturating_add(HEADROOM);
        Self {
            link,
            body,
            piece: Bytes::new(),
            meter,
            most,
            stopped: None,
        }
    }

    /// The whole body, decoded. Refused from its announced length where that tells.
    pub(super) async fn read(
        mut self,
        coding: Option<Coding>,
        limit: u64,
    ) -> Result<Bytes, Failure> {
        let announced = self.body.size_hint().exact();
        let most = if coding.is_some() { self.most } else { limit };
        if announced.is_some_and(|announced| announced > most) {
            return Err(too_large(limit));
        }
        if self.fill_buf().await.is_ok_and(<[u8]>::is_empty) {
            return Err(empty());
        }
        let read = match coding {
            None => copy(&mut self, limit, announced).await,
            Some(coding) => decode(&mut self, coding, limit).await,
        };
        let whole = read.map_err(|error| self.failure(&error, limit))?;
        if whole.is_empty() {
            Err(empty())
        } else {
            Ok(whole)
        }
    }

    /// What stopped the reading: the framing, the limit, or else the decoder.
    fn failure(&self, error: &io::Error, limit: u64) -> Failure {
        match &self.stopped {
            Some(Stop::Broken(error)) => truncated(error, self.meter.bytes()),
            Some(Stop::TooLarge) => too_large(limit),
            _ if error.kind() == io::ErrorKind::FileTooLarge => too_large(limit),
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Failure::new(
                Code::DecodeFailed,
                "the compressed body ends too early, although the answer is whole",
            ),
            _ => Failure::new(
                Code::DecodeFailed,
                "the body is not what its content coding says",
            ),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, hyper::Error>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.link.advance(cx);
                    ready!(Pin::new(&mut self.body).poll_frame(cx))
                }
                ready @ Poll::Ready(_) => ready!(ready),
            };
            match frame.transpose()?.map(hyper::body::Frame::into_data) {
                None => return Poll::Ready(Ok(None)),
                Some(Ok(data)) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                Some(_) => {}
            }
        }
    }
}

const HEADROOM: u64 = 64 * 1024;

impl AsyncBufRead for Wire<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.piece.is_empty() && this.stopped.is_none() {
            match ready!(this.poll_piece(cx)) {
                Ok(Some(piece)) => {
                    this.meter.add(piece.len());
                    this.piece = piece;
                    this.stopped = (this.meter.bytes() > this.most).then_some(Stop::TooLarge);
                }
                Ok(None) => this.stopped = Some(Stop::End),
                Err(error) => this.stopped = Some(Stop::Broken(error)),
            }
        }
        match this.stopped {
            None | Some(Stop::End) => Poll::Ready(Ok(&this.piece)),
            Some(_) => Poll::Ready(Err(io::ErrorKind::Other.into())),
        }
    }

    fn consume(self: Pin<&mut Self>, taken: usize) {
        self.get_mut().piece.advance(taken);
    }
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.as_mut().poll_fill_buf(cx))?;
        let taken = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..taken]);
        self.consume(taken);
        Poll::Ready(Ok(()))
    }
}

/// Everything of a plain body.
async fn copy(wire: &mut Wire<'_>, limit: u64, announced: Option<u64>) -> io::Result<Bytes> {
    let mut whole = BytesMut::with_capacity(announced.unwrap_or_default() as usize);
    gather(wire, limit, &mut whole).await?;
    Ok(whole.freeze())
}

/// Everything of a compressed body, which must end where its framing does. Gzip and zstd may come in several members.
async fn decode(wire: &mut Wire<'_>, coding: Coding, limit: u64) -> io::Result<Bytes> {
    let mut whole = BytesMut::new();
    let mut source = &mut *wire;
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(&mut source);
            decoder.multiple_members(true);
            gather(&mut decoder, limit, &mut whole).await?;
        }
        Coding::Brotli => gather(&mut BrotliDecoder::new(&mut source), limit, &mut whole).await?,
        Coding::Zstd => {
            let window = [DParameter::window_log_max(WINDOW)];
            let mut decoder = ZstdDecoder::with_params(&mut source, &window);
            decoder.multiple_members(true);
            gather(&mut decoder, limit, &mut whole).await?;
        }
    }
    if wire.fill_buf().await?.is_empty() {
        Ok(whole.freeze())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn gather(
    from: &mut (dyn AsyncRead + Send + Unpin),
    limit: u64,
    whole: &mut BytesMut,
) -> io::Result<()> {
    loop {
        // A decoder may give megabytes for one packet: let the deadline be looked at in between.
        tokio::task::coop::consume_budget().await;
        whole.reserve(PIECE);
        if from.read_buf(&mut whole.limit(PIECE)).await? == 0 {
            return Ok(());
        }
        if whole.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// The failure of a body that broke after `bytes`: an end that came too early is told apart from a connection that broke.
fn truncated(error: &hyper::Error, bytes: u64) -> Failure {
    match head::io_error(error).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => Failure::new(
            Code::BodyTruncated,
            format!("the body ended too early, after {bytes} bytes"),
        ),
        _ => head::broken_in("its body", error, bytes),
    }
}

fn empty() -> Failure {
    Failure::new(Code::EmptyBody, "the answer's body is empty")
}

fn too_large(limit: u64) -> Failure {
    Failure::new(
        Code::BodyTooLarge,
        format!(
            "the body is over the limit of {} (`max_body`)",
            text::size(limit)
        ),
    )
}
