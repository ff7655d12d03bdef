//! Response bodies: read to the end of the framing and decoded, up to a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, ReadBuf};

use crate::domain::{Code, Failure};
use crate::text::format_size;

use super::deadline::ByteCounter;
use super::response_head::{self, BodyCoding};
use super::upstream_connection::ProviderConnection;

/// Number of decoded bytes read at a time; the deadline is checked between two reads.
const READ_CHUNK_BYTES: usize = 16 * 1024;

/// Maximum zstd window as a power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes that a content coding may add to a small body.
const CODING_HEADROOM_BYTES: u64 = 64 * 1024;

/// A body and its connection, which must be polled while the body is read.
pub(super) struct BodyReader<'l> {
    connection: &'l mut ProviderConnection,
    body: Incoming,
    /// Received bytes that are not consumed yet.
    chunk: Bytes,
    /// Number of received bytes, before decoding.
    counter: &'l ByteCounter,
    /// Maximum number of received bytes. A regular encoder never exceeds it for a body within the
    /// limit.
    max_wire_bytes: u64,
    end: Option<BodyEnd>,
}

/// End of a body.
enum BodyEnd {
    /// The body is complete by its framing.
    Complete,
    /// The body exceeds the limit.
    TooLarge,
    /// The connection or the framing failed.
    Failed(hyper::Error),
}

impl<'l> BodyReader<'l> {
    /// Returns a reader of `body` with a limit of `limit` decoded bytes.
    pub(super) fn new(
        connection: &'l mut ProviderConnection,
        body: Incoming,
        counter: &'l ByteCounter,
        limit: u64,
    ) -> Self {
        counter.reset();
        let max_wire_bytes = limit
            .saturating_add(limit / 16)
            .saturating_add(CODING_HEADROOM_BYTES);
        Self {
            connection,
            body,
            chunk: Bytes::new(),
            counter,
            max_wire_bytes,
            end: None,
        }
    }

    /// Reads and decodes the whole body. Fails at once if its declared length exceeds the limit.
    pub(super) async fn read_decoded(
        mut self,
        coding: Option<BodyCoding>,
        limit: u64,
    ) -> Result<Bytes, Failure> {
        let declared = self.body.size_hint().exact();
        let max_declared = if coding.is_some() {
            self.max_wire_bytes
        } else {
            limit
        };
        if declared.is_some_and(|declared| declared > max_declared) {
            return Err(too_large_failure(limit));
        }
        if self.fill_buf().await.is_ok_and(<[u8]>::is_empty) {
            return Err(empty_failure());
        }
        let read = match coding {
            None => read_plain(&mut self, limit, declared).await,
            Some(coding) => read_compressed(&mut self, coding, limit).await,
        };
        let content = read.map_err(|error| self.read_failure(&error, limit))?;
        if content.is_empty() {
            Err(empty_failure())
        } else {
            Ok(content)
        }
    }

    /// Returns the failure behind a read error: of the framing, of the limit, or of the decoder.
    fn read_failure(&self, error: &io::Error, limit: u64) -> Failure {
        match &self.end {
            Some(BodyEnd::Failed(error)) => truncated_failure(error, self.counter.bytes()),
            Some(BodyEnd::TooLarge) => too_large_failure(limit),
            _ if error.kind() == io::ErrorKind::FileTooLarge => too_large_failure(limit),
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

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, hyper::Error>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.connection.poll_connection(cx);
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

impl AsyncBufRead for BodyReader<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.chunk.is_empty() && this.end.is_none() {
            match ready!(this.poll_chunk(cx)) {
                Ok(Some(chunk)) => {
                    this.counter.add_bytes(chunk.len());
                    this.chunk = chunk;
                    this.end =
                        (this.counter.bytes() > this.max_wire_bytes).then_some(BodyEnd::TooLarge);
                }
                Ok(None) => this.end = Some(BodyEnd::Complete),
                Err(error) => this.end = Some(BodyEnd::Failed(error)),
            }
        }
        match this.end {
            None | Some(BodyEnd::Complete) => Poll::Ready(Ok(&this.chunk)),
            Some(_) => Poll::Ready(Err(io::ErrorKind::Other.into())),
        }
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().chunk.advance(count);
    }
}

impl AsyncRead for BodyReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..count]);
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

/// Reads a plain body.
async fn read_plain(
    body: &mut BodyReader<'_>,
    limit: u64,
    declared: Option<u64>,
) -> io::Result<Bytes> {
    let mut content = BytesMut::with_capacity(declared.unwrap_or_default() as usize);
    read_to_limit(body, limit, &mut content).await?;
    Ok(content.freeze())
}

/// Reads and decodes a compressed body, which must end with its framing. gzip and zstd may have
/// several members.
async fn read_compressed(
    body: &mut BodyReader<'_>,
    coding: BodyCoding,
    limit: u64,
) -> io::Result<Bytes> {
    let mut content = BytesMut::new();
    let mut source = &mut *body;
    match coding {
        BodyCoding::Gzip => {
            let mut decoder = GzipDecoder::new(&mut source);
            decoder.multiple_members(true);
            read_to_limit(&mut decoder, limit, &mut content).await?;
        }
        BodyCoding::Brotli => {
            read_to_limit(&mut BrotliDecoder::new(&mut source), limit, &mut content).await?;
        }
        BodyCoding::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            let mut decoder = ZstdDecoder::with_params(&mut source, &window);
            decoder.multiple_members(true);
            read_to_limit(&mut decoder, limit, &mut content).await?;
        }
    }
    if body.fill_buf().await?.is_empty() {
        Ok(content.freeze())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn read_to_limit(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    limit: u64,
    content: &mut BytesMut,
) -> io::Result<()> {
    loop {
        // One packet can decode to megabytes; the budget lets the deadline be checked meanwhile.
        tokio::task::coop::consume_budget().await;
        content.reserve(READ_CHUNK_BYTES);
        if reader
            .read_buf(&mut content.limit(READ_CHUNK_BYTES))
            .await?
            == 0
        {
            return Ok(());
        }
        if content.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// Returns the failure of a body that failed after `bytes`: truncated, or a broken connection.
fn truncated_failure(error: &hyper::Error, bytes: u64) -> Failure {
    match response_head::io_error(error).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => Failure::new(
            Code::BodyTruncated,
            format!("the body ended too early, after {bytes} bytes"),
        ),
        _ => response_head::connection_failure("its body", error, bytes),
    }
}

fn empty_failure() -> Failure {
    Failure::new(Code::EmptyBody, "the answer's body is empty")
}

fn too_large_failure(limit: u64) -> Failure {
    Failure::new(
        Code::BodyTooLarge,
        format!(
            "the body is over the limit of {} (`max_body`)",
            format_size(limit)
        ),
    )
}
