//! A body in the codings that clients ask for, each made once.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;

use super::Version;

/// Larger bodies, in bytes, take longer to be compressed than an answer may be late.
pub const LARGE: usize = 128 << 10;

/// A content coding, in the order in which we like them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
    /// gzip (RFC 1952).
    Gzip,
}

/// The coded forms of one body.
#[derive(Debug, Default)]
pub struct Forms {
    coded: [Form; 3],
    event: OnceLock<Bytes>,
}

#[derive(Debug, Default)]
struct Form {
    begun: AtomicBool,
    done: OnceLock<Bytes>,
}

impl Coding {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Br, Self::Zstd, Self::Gzip];

    /// Encodes at a fast level, and the fastest if it is [`LARGE`]: a body lives for milliseconds. None if the encoder fails, which it does not in memory.
    fn encode(self, body: &[u8]) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 2 + 64);
        let level = if body.len() > LARGE { 1 } else { 4 };
        match self {
            Self::Br => {
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

impl Forms {
    /// `body`, always the same, in this coding. None while another thread is at it and the plain body will do.
    pub fn get(&self, coding: Coding, body: &[u8], plain_will_do: bool) -> Option<Bytes> {
        let form = &self.coded[coding as usize];
        if let Some(done) = form.done.get() {
            return Some(done.clone());
        }
        if form.begun.swap(true, Relaxed) && plain_will_do {
            return None;
        }
        let made = form
            .done
            .get_or_init(|| coding.encode(body).unwrap_or_default().into());
        Some(made.clone()).filter(|made| !made.is_empty())
    }
}

impl Forms {
    /// `body`, always the same and of one line, as a Server-Sent Event.
    pub fn event(&self, body: &[u8], version: Version) -> Bytes {
        let write = || {
            [
                format!("event: resumen\nid: {version}\ndata: ").as_bytes(),
                body,
                b"\n\n",
            ]
            .concat()
            .into()
        };
        self.event.get_or_init(write).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_form_reads_back() {
        let body = r#"{"resultados":{"btc":{"ok":true}}}"#.repeat(100);
        let forms = Forms::default();
        let made = |coding| forms.get(coding, body.as_bytes(), true).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*made(Coding::Gzip))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, body);
        text.clear();
        brotli::Decompressor::new(&*made(Coding::Br), 4096)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, body);
        assert_eq!(
            zstd::decode_all(&*made(Coding::Zstd)).unwrap(),
            body.as_bytes()
        );
    }

    #[test]
    fn a_form_is_made_once() {
        let forms = Forms::default();
        let first = forms.get(Coding::Gzip, b"body", true).unwrap();
        let second = forms.get(Coding::Gzip, b"body", true).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn who_finds_another_at_it_does_without() {
        let forms = Forms::default();
        forms.coded[Coding::Gzip as usize]
            .begun
            .store(true, Relaxed);
        assert_eq!(forms.get(Coding::Gzip, b"body", true), None);
        assert!(forms.get(Coding::Gzip, b"body", false).is_some());
    }
}
