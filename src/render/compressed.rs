//! A body in the codings that clients ask for, each made once.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;

use super::version::SummaryVersion;

/// Larger bodies, in bytes, take longer to be compressed than an answer may be late.
pub const LARGE_BODY_BYTES: usize = 128 << 10;

/// A content coding, in the order in which we like them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstd,
    /// gzip (RFC 1952).
    Gzip,
}

/// The coded forms of one body.
#[derive(Debug, Default)]
pub struct EncodedBodies {
    bodies: [EncodedBody; 3],
    event_bytes: OnceLock<Bytes>,
}

#[derive(Debug, Default)]
struct EncodedBody {
    has_started: AtomicBool,
    encoded_bytes: OnceLock<Bytes>,
}

impl ContentCoding {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Encodes at a fast level, and the fastest if it is [`LARGE`]: a body lives for milliseconds. None if the encoder fails, which it does not in memory.
    fn compress_body(self, body: &[u8]) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 2 + 64);
        let level = if body.len() > LARGE_BODY_BYTES { 1 } else { 4 };
        match self {
            Self::Brotli => {
                let window = (body.len().max(1024) as u32)
                    .next_power_of_two()
                    .ilog2()
                    .clamp(10, 20);
                let mut encoder = brotli::CompressorWriter::new(out, 4096, level, window);
                encoder.write_all(body).ok()?;
                Some(encoder.into_inner())
            }
            Self::Zstd => zstd::bulk::compress(body, 1).ok(),
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
        }
    }
}

impl EncodedBodies {
    /// `body`, always the same, in this coding. None while another thread is at it and the plain body will do.
    pub fn get_or_encode(
        &self,
        coding: ContentCoding,
        body: &[u8],
        plain_will_do: bool,
    ) -> Option<Bytes> {
        let form = &self.bodies[coding as usize];
        if let Some(done) = form.encoded_bytes.get() {
            return Some(done.clone());
        }
        if form.has_started.swap(true, Relaxed) && plain_will_do {
            return None;
        }
        let made = form
            .encoded_bytes
            .get_or_init(|| coding.compress_body(body).unwrap_or_default().into());
        Some(made.clone()).filter(|made| !made.is_empty())
    }
}

impl EncodedBodies {
    /// `body`, always the same and of one line, as a Server-Sent Event.
    pub fn get_or_write_event(&self, body: &[u8], version: SummaryVersion) -> Bytes {
        let write = || {
            [
                format!("event: resumen\nid: {version}\ndata: ").as_bytes(),
                body,
                b"\n\n",
            ]
            .concat()
            .into()
        };
        self.event_bytes.get_or_init(write).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn encoded_body_round_trips() {
        let body = r#"{"resultados":{"btc":{"ok":true}}}"#.repeat(100);
        let forms = EncodedBodies::default();
        let made = |coding| forms.get_or_encode(coding, body.as_bytes(), true).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*made(ContentCoding::Gzip))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, body);
        text.clear();
        brotli::Decompressor::new(&*made(ContentCoding::Brotli), 4096)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, body);
        assert_eq!(
            zstd::decode_all(&*made(ContentCoding::Zstd)).unwrap(),
            body.as_bytes()
        );
    }

    #[test]
    fn body_is_encoded_once() {
        let forms = EncodedBodies::default();
        let first = forms
            .get_or_encode(ContentCoding::Gzip, b"body", true)
            .unwrap();
        let second = forms
            .get_or_encode(ContentCoding::Gzip, b"body", true)
            .unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn concurrent_encode_is_skipped() {
        let forms = EncodedBodies::default();
        forms.bodies[ContentCoding::Gzip as usize]
            .has_started
            .store(true, Relaxed);
        assert_eq!(
            forms.get_or_encode(ContentCoding::Gzip, b"body", true),
            None
        );
        assert!(
            forms
                .get_or_encode(ContentCoding::Gzip, b"body", false)
                .is_some()
        );
    }
}
