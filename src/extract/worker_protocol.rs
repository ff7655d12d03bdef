//! The messages between the service and a filter worker: a length-prefixed JSON header and raw bytes behind it.
//!
//! Frame: header length (4 bytes, big endian), payload length (8 bytes), header, payload. Both sides are the same
//! program, so the format needs no version.

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::domain::{BodyFormat, CsvDialect};

/// Bytes before a header.
const PREFIX_BYTES: usize = 12;

/// The longest header, in bytes. A header holds a filter's text (64 KiB at most), JSON-escaped.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// What the worker evaluates; the payload of the frame is the body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestHeader<'r> {
    /// The text of the filter.
    #[serde(borrow)]
    pub(super) filter: std::borrow::Cow<'r, str>,
    /// The format of the body.
    #[serde(with = "BodyFormatDto")]
    pub(super) format: BodyFormat,
    /// The charset that `Content-Type` names.
    pub(super) charset: Option<Box<str>>,
    /// Processor time that the evaluation may use, in whole seconds.
    pub(super) cpu_seconds: u64,
    /// Memory that the evaluation may use, in bytes.
    pub(super) memory_bytes: u64,
}

/// [`BodyFormat`] as it is sent.
#[derive(Serialize, Deserialize)]
#[serde(remote = "BodyFormat")]
enum BodyFormatDto {
    Json,
    JsonLines,
    Text,
    Csv(#[serde(with = "CsvDialectDto")] CsvDialect),
    Xml,
    Html { select: Box<str> },
    Prometheus,
}

/// [`CsvDialect`] as it is sent.
#[derive(Serialize, Deserialize)]
#[serde(remote = "CsvDialect")]
struct CsvDialectDto {
    delimiter: u8,
    has_header: bool,
}

/// What the worker found. On success the payload of the frame is the data, else the quoted text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResponseHeader {
    /// The failure, if there is no data.
    pub(super) error: Option<ResponseError>,
    /// Processor time that the evaluation used, in milliseconds.
    pub(super) cpu_ms: u64,
}

/// A failure of an extraction, as the worker reports it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResponseError {
    /// The code's text.
    pub(super) code: String,
    /// The message without the quoted text.
    pub(super) message: String,
    /// Whether the payload is a quoted text.
    pub(super) has_quote: bool,
}

/// Returns the bytes that stand before a payload of `payload_bytes`.
pub(super) fn encode_header(header: &impl Serialize, payload_bytes: usize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(header)?;
    let header_bytes = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(PREFIX_BYTES + json.len());
    frame.extend_from_slice(&header_bytes.to_be_bytes());
    frame.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    frame.extend_from_slice(&json);
    Ok(frame)
}

/// Reads one frame. Returns `None` at the end of the stream. The sender is the service, so the payload has no limit.
pub(super) fn read_frame(stream: &mut impl Read) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut prefix = [0; PREFIX_BYTES];
    // The end of the stream is regular only between two frames.
    if stream.read(&mut prefix[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[1..])?;
    let (header_bytes, payload_bytes) = decode_prefix(prefix);
    let mut header = vec![0; checked_length(header_bytes, MAX_HEADER_BYTES)?];
    stream.read_exact(&mut header)?;
    let mut payload = vec![0; checked_length(payload_bytes, usize::MAX)?];
    stream.read_exact(&mut payload)?;
    Ok(Some((header, payload)))
}

/// Reads one frame whose payload has at most `max_payload` bytes.
///
/// # Errors
/// `UnexpectedEof` when the worker has ended, `InvalidData` when a length or the header is wrong.
pub(super) async fn read_response<H: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    max_payload: usize,
) -> io::Result<(H, Vec<u8>)> {
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await?;
    let (header_bytes, payload_bytes) = decode_prefix(prefix);
    let mut header = vec![0; checked_length(header_bytes, MAX_HEADER_BYTES)?];
    stream.read_exact(&mut header).await?;
    let mut payload = vec![0; checked_length(payload_bytes, max_payload)?];
    stream.read_exact(&mut payload).await?;
    Ok((serde_json::from_slice(&header)?, payload))
}

fn decode_prefix(prefix: [u8; PREFIX_BYTES]) -> (u64, u64) {
    let [a, b, c, d, rest @ ..] = prefix;
    (
        u32::from_be_bytes([a, b, c, d]).into(),
        u64::from_be_bytes(rest),
    )
}

fn checked_length(bytes: u64, limit: usize) -> io::Result<usize> {
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= limit)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {bytes} bytes"),
            )
        })
}
