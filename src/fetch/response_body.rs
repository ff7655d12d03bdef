//! Response bodies: read to the end of the framing and decoded, up to a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Version;
use hyper::body::Body as _;
use reqwest::Body;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, ReadBuf};

use crate::domain::{Code, Failure};
use crate::text::{UnitStyle, format_size};

use super::body_memory::BodyReservation;
use super::deadline::ByteCounter;
use super::response_head::BodyCoding;
use super::transport_error;

/// Number of decoded bytes read at a time; the deadline is checked between two reads.
const READ_CHUNK_BYTES: usize = 16 * 1024;

/// Number of received bytes after which the reader yields to the other tasks of its thread: a decoder
/// reads on within one poll for as long as it produces nothing, and empty gzip members are slow to decode.
const YIELD_BYTES: usize = 4 * READ_CHUNK_BYTES;

/// Maximum zstd window as a power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A body that is being received. It holds the connection, which closes if it is dropped before the
/// end.
pub(super) struct BodyReader<'c> {
    body: Body,
    is_http2: bool,
    /// Length at which the body ends although more bytes may follow.
    ends_at: Option<u64>,
    /// Received bytes that are not consumed yet.
    chunk: Bytes,
    /// Number of bytes consumed since the reader last yielded.
    unyielded_bytes: usize,
    /// Number of received bytes, before decoding.
    counter: &'c ByteCounter,
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
    Failed(reqwest::Error),
    /// The body ended before its framing did.
    Truncated,
}

impl<'c> BodyReader<'c> {
    /// Returns a reader of `body` with a limit of `limit` decoded bytes. `ends_at` is a length that
    /// hyper ignores.
    pub(super) fn new(
        body: Body,
        version: Version,
        ends_at: Option<u64>,
        counter: &'c ByteCounter,
        limit: u64,
    ) -> Self {
        Self {
            body,
            is_http2: version == Version::HTTP_2,
            ends_at,
            chunk: Bytes::new(),
            unyielded_bytes: 0,
            counter,
            max_wire_bytes: limit
                .saturating_add(limit / 16)
                .saturating_add(CODING_HEADROOM_BYTES),
            end: None,
        }
    }

    /// Reads and decodes the whole body, once there is memory for it. Fails at once if its declared
    /// length exceeds the limit.
    pub(super) async fn read_decoded(
        mut self,
        coding: Option<BodyCoding>,
        max_body: u64,
        memory: Option<&BodyReservation>,
    ) -> Result<Bytes, Failure> {
        let limit = memory.and_then(BodyReservation::limit).unwrap_or(max_body);
        let announced = self.ends_at.or(self.body.size_hint().exact());
        let most = if coding.is_some() {
            self.max_wire_bytes
        } else {
            limit
        };
        if announced.is_some_and(|announced| announced > most) {
            return Err(too_large_failure(limit, max_body));
        }
        // Before the decoder, which would report an empty body as a broken one.
        if self.fill_buf().await.is_ok_and(<[u8]>::is_empty) {
            return Err(empty_failure());
        }
        // Most bodies are short and arrive as one chunk, which needs no buffer and no further read.
        let is_whole = coding.is_none() && self.end.is_none() && self.body.is_end_stream();
        if is_whole && self.chunk.len() as u64 <= limit.min(READ_CHUNK_BYTES as u64) {
            return Ok(self.chunk);
        }
        let mut whole = BytesMut::new();
        if coding.is_none() {
            // The announced length was compared with the limit, so it bounds the allocation.
            let announced = announced.unwrap_or_default();
            if let Some(memory) = memory {
                memory.reserve(announced).await;
            }
            // With room for the read that finds the end: else the buffer would double before it.
            whole.reserve(announced as usize + READ_CHUNK_BYTES);
        }
        let read = read_content(&mut self, coding, limit, memory, &mut whole);
        // Boxed: the decoders take kilobytes, which most calls do not need.
        let read = Box::pin(read).await;
        read.map_err(|error| self.read_failure(&error, limit, max_body))?;
        if whole.is_empty() {
            Err(empty_failure())
        } else {
            Ok(whole.freeze())
        }
    }

    /// Reads and decodes the beginning of the body, at most `limit` bytes, into `beginning`. It has what
    /// was read before the body failed, or before the caller drops the future. Returns whether it is the
    /// whole body.
    pub(super) async fn read_beginning(
        mut self,
        coding: Option<BodyCoding>,
        limit: u64,
        beginning: &mut BytesMut,
    ) -> bool {
        let read = Box::pin(read_content(&mut self, coding, limit, None, beginning)).await;
        beginning.truncate(limit as usize);
        read.is_ok()
    }

    /// Returns the failure behind a read error: of the framing, of the limit, or of the decoder.
    fn read_failure(&self, error: &io::Error, limit: u64, max_body: u64) -> Failure {
        // The cause of the transport comes first: the decoder's error is its consequence.
        match &self.end {
            Some(BodyEnd::Failed(error)) => truncated_failure(error, self.counter.bytes()),
            Some(BodyEnd::Truncated) => early_end_failure(self.counter.bytes()),
            Some(BodyEnd::TooLarge) => too_large_failure(limit, max_body),
            _ if error.kind() == io::ErrorKind::FileTooLarge => too_large_failure(limit, max_body),
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

    /// Returns the next bytes; `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyEnd>> {
        let received = self.counter.bytes();
        if self.ends_at.is_some_and(|end| received >= end) {
            return Poll::Ready(Ok(None));
        }
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame {
                // hyper takes a stream that the peer resets without an error for one that ended.
                None if self.is_http2 && !self.body.is_end_stream() => {
                    return Poll::Ready(Err(BodyEnd::Truncated));
                }
                None if self.ends_at.is_some() => return Poll::Ready(Err(BodyEnd::Truncated)),
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(BodyEnd::Failed(error))),
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data()
                        && !data.is_empty()
                    {
                        if let Some(end) = self.ends_at {
                            data.truncate((end - received) as usize);
                        }
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
            }
        }
    }
}

const CODING_HEADROOM_BYTES: u64 = 64 * 1024;

impl AsyncBufRead for BodyReader<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.unyielded_bytes >= YIELD_BYTES {
            this.unyielded_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while this.chunk.is_empty() && this.end.is_none() {
            match ready!(this.poll_chunk(cx)) {
                Ok(Some(piece)) => {
                    this.counter.add_bytes(piece.len());
                    this.chunk = piece;
                    this.end =
                        (this.counter.bytes() > this.max_wire_bytes).then_some(BodyEnd::TooLarge);
                }
                Ok(None) => this.end = Some(BodyEnd::Complete),
                Err(end) => this.end = Some(end),
            }
        }
        match this.end {
            None | Some(BodyEnd::Complete) => {
                let length = this.chunk.len().min(READ_CHUNK_BYTES);
                Poll::Ready(Ok(&this.chunk[..length]))
            }
            Some(_) => Poll::Ready(Err(io::ErrorKind::Other.into())),
        }
    }

    fn consume(self: Pin<&mut Self>, taken: usize) {
        let this = self.get_mut();
        this.chunk.advance(taken);
        this.unyielded_bytes += taken;
    }
}

impl AsyncRead for BodyReader<'_> {
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

/// Reads and decodes a body into `whole`. A compressed one must end with its framing; gzip and zstd may
/// have several members.
async fn read_content(
    wire: &mut BodyReader<'_>,
    coding: Option<BodyCoding>,
    limit: u64,
    memory: Option<&BodyReservation>,
    whole: &mut BytesMut,
) -> io::Result<()> {
    let mut source = &mut *wire;
    let Some(coding) = coding else {
        return read_to_limit(source, limit, memory, whole).await;
    };
    match coding {
        BodyCoding::Gzip => {
            let mut decoder = GzipDecoder::new(&mut source);
            decoder.multiple_members(true);
            read_to_limit(&mut decoder, limit, memory, whole).await?;
        }
        BodyCoding::Brotli => {
            read_to_limit(&mut BrotliDecoder::new(&mut source), limit, memory, whole).await?;
        }
        BodyCoding::Deflate => {
            // Many servers send raw deflate. Its first byte never has the lower half that marks zlib: that would be a
            // stored block with padding bits that are set.
            let is_zlib = source
                .fill_buf()
                .await?
                .first()
                .is_some_and(|first| first & 0x0f == 8);
            if is_zlib {
                read_to_limit(&mut ZlibDecoder::new(&mut source), limit, memory, whole).await?;
            } else {
                read_to_limit(&mut DeflateDecoder::new(&mut source), limit, memory, whole).await?;
            }
        }
        BodyCoding::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            let mut decoder = ZstdDecoder::with_params(&mut source, &window);
            decoder.multiple_members(true);
            read_to_limit(&mut decoder, limit, memory, whole).await?;
        }
    }
    // Bytes after the compressed data mean that the coding is not what the header says.
    if wire.fill_buf().await?.is_empty() {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn read_to_limit(
    from: &mut (dyn AsyncRead + Send + Unpin),
    limit: u64,
    memory: Option<&BodyReservation>,
    whole: &mut BytesMut,
) -> io::Result<()> {
    loop {
        // A decoder may give megabytes for one packet: let the deadline be looked at in between.
        tokio::task::coop::consume_budget().await;
        // Not before the space is used up: the last read, which finds the end, would move the body.
        if whole.spare_capacity_mut().is_empty() {
            whole.reserve(READ_CHUNK_BYTES);
        }
        if from.read_buf(&mut whole.limit(READ_CHUNK_BYTES)).await? == 0 {
            return Ok(());
        }
        if whole.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(memory) = memory {
            memory.reserve_beyond(whole.len(), limit).await;
        }
    }
}

/// Returns the failure of a body that failed after `bytes`: truncated, or a broken connection.
fn truncated_failure(error: &reqwest::Error, bytes: u64) -> Failure {
    if transport_error::is_early_end(error) {
        return early_end_failure(bytes);
    }
    transport_error::connection_failure("its body", error, Some(bytes))
}

fn early_end_failure(bytes: u64) -> Failure {
    Failure::new(
        Code::BodyTruncated,
        format!("the body ended too early, after {bytes} bytes"),
    )
}

fn empty_failure() -> Failure {
    Failure::new(Code::EmptyBody, "the answer's body is empty")
}

fn too_large_failure(limit: u64, max_body: u64) -> Failure {
    let reason = if limit < max_body {
        "what the container's memory limit leaves to bodies"
    } else {
        "`max_body`"
    };
    Failure::new(
        Code::BodyTooLarge,
        format!(
            "the body is over the limit of {} ({reason})",
            format_size(limit, UnitStyle::Message)
        ),
    )
}
