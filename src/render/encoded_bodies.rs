//! The body of a rendering in other encodings, each made at most once.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::process::SendBudget;

use super::version::SummaryVersion;

/// Size of a body, in bytes, above which its compression would delay a response too long.
pub const LARGE_BODY_BYTES: usize = 128 << 10;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentCoding {
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstd,
    /// gzip (RFC 1952).
    Gzip,
}

/// Name of a server-sent event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventName {
    /// `resumen`.
    #[default]
    Resumen,
    /// `message`, which a page receives by `onmessage`.
    Message,
}

/// Encodings of one body: content codings, and server-sent events.
#[derive(Debug)]
pub struct EncodedBodies {
    body: Bytes,
    /// Indexed by [`ContentCoding`].
    compressed: [CompressedBody; 3],
    /// Indexed by [`EventName`].
    events: [OnceLock<Bytes>; 2],
    /// Counts the encodings; `None` for bodies that live as long as the program.
    budget: Option<Arc<SendBudget>>,
}

#[derive(Debug, Default)]
struct CompressedBody {
    is_started: AtomicBool,
    bytes: OnceLock<Bytes>,
}

impl ContentCoding {
    /// All codings in order of preference.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Compresses `body`. The level is low, because a body is served only for milliseconds, and the
    /// lowest for a large body. `None` if the encoder fails, which does not happen in memory.
    fn compress(self, body: &[u8]) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 2 + 64);
        let level = if body.len() > LARGE_BODY_BYTES { 1 } else { 4 };
        match self {
            Self::Brotli => {
                // The smallest window that covers the body: the encoder allocates by its size.
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

impl EventName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Resumen => "resumen",
            Self::Message => "message",
        }
    }
}

impl EncodedBodies {
    /// Returns the encodings of `body`, none of which is made yet.
    pub fn new(body: Bytes) -> Self {
        Self {
            body,
            compressed: Default::default(),
            events: Default::default(),
            budget: None,
        }
    }

    /// Counts the encodings in `budget`.
    #[must_use]
    pub(super) fn counted_in(self, budget: &Arc<SendBudget>) -> Self {
        Self {
            budget: Some(Arc::clone(budget)),
            ..self
        }
    }

    /// Returns the body without a coding.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns whether the body in `coding` is made, so that [`Self::get_or_encode`] costs nothing.
    pub fn is_encoded(&self, coding: ContentCoding) -> bool {
        self.compressed[coding as usize].bytes.get().is_some()
    }

    /// Returns the body in `coding`. `None` if the encoder fails, and if `accepts_identity` is set
    /// while another thread is compressing.
    pub fn get_or_encode(&self, coding: ContentCoding, accepts_identity: bool) -> Option<Bytes> {
        let compressed = &self.compressed[coding as usize];
        if let Some(bytes) = compressed.bytes.get() {
            return Some(bytes.clone());
        }
        // Relaxed: the flag only avoids duplicate work; `OnceLock` publishes the bytes.
        if compressed.is_started.swap(true, Relaxed) && accepts_identity {
            return None;
        }
        let bytes = compressed
            .bytes
            .get_or_init(|| self.count(coding.compress(&self.body).unwrap_or_default()));
        // Empty bytes record a failure of the encoder, so that it is not tried again.
        Some(bytes.clone()).filter(|bytes| !bytes.is_empty())
    }

    /// Returns the body, which must be on one line, as a server-sent event.
    pub fn get_or_write_event(&self, name: EventName, version: SummaryVersion) -> Bytes {
        let write = || {
            let head = format!("event: {}\nid: {version}\ndata: ", name.as_str());
            self.count([head.as_bytes(), &self.body, b"\n\n"].concat())
        };
        self.events[name as usize].get_or_init(write).clone()
    }

    fn count(&self, bytes: Vec<u8>) -> Bytes {
        match &self.budget {
            Some(budget) => budget.share(bytes),
            None => bytes.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn encoded_body_round_trips() {
        let body = r#"{"resultados":{"btc":{"ok":true}}}"#.repeat(100);
        let bodies = EncodedBodies::new(body.clone().into());
        let encode = |coding| bodies.get_or_encode(coding, true).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*encode(ContentCoding::Gzip))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, body);
        text.clear();
        brotli::Decompressor::new(&*encode(ContentCoding::Brotli), 4096)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, body);
        assert_eq!(
            zstd::decode_all(&*encode(ContentCoding::Zstd)).unwrap(),
            body.as_bytes()
        );
    }

    #[test]
    fn body_is_encoded_once() {
        let bodies = EncodedBodies::new(Bytes::from_static(b"body"));
        assert!(!bodies.is_encoded(ContentCoding::Gzip));
        let first = bodies.get_or_encode(ContentCoding::Gzip, true).unwrap();
        assert!(bodies.is_encoded(ContentCoding::Gzip));
        let second = bodies.get_or_encode(ContentCoding::Gzip, true).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn concurrent_encode_is_skipped() {
        let bodies = EncodedBodies::new(Bytes::from_static(b"body"));
        bodies.compressed[ContentCoding::Gzip as usize]
            .is_started
            .store(true, Relaxed);
        assert_eq!(bodies.get_or_encode(ContentCoding::Gzip, true), None);
        assert!(bodies.get_or_encode(ContentCoding::Gzip, false).is_some());
    }
}
