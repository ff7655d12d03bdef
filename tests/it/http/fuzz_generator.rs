//! Random requests, several on one connection: most are valid, some are malformed.

use fastrand::Rng;

use super::fuzz_paths::{FAST_TARGETS, ODD_TARGETS, SOUND_TARGETS};

/// Valid header lines. `{etag}` is the tag of the snapshot.
const SOUND_FIELDS: [&str; 56] = [
    "Accept: */*",
    "Accept-Encoding: gzip",
    "accept-encoding: gzip, deflate, br, zstd",
    "Accept-Encoding: *;q=0",
    "Accept-Encoding: identity;q=0, br;q=0.5",
    "Accept-Encoding: identity;q=0",
    "Accept-Encoding: gzip;q=1.0, *;q=0",
    "ACCEPT-ENCODING:\tzstd;q=0.001",
    "Accept-Encoding:",
    "Accept-Encoding: gzip;q=2, identity;q=0.0",
    "Accept-Language: es-AR,es;q=0.9",
    "If-None-Match: {etag}",
    "If-None-Match: \"a\", {etag}",
    "If-None-Match: *",
    "If-None-Match: \"unbalanced, {etag}",
    "If-None-Match: W/\"0\",\"1\" , ,\"2\"",
    "If-None-Match: w/{etag}",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Match: \"x\"",
    "If-Range: \"x\"",
    "Range: bytes=0-1,5-",
    "Origin: https://a.example",
    "Origin: null",
    "Access-Control-Request-Method: PUT",
    "Connection: keep-alive",
    "Connection: Keep-Alive, TE",
    "Connection: upgrade",
    "Connection: ,",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "HTTP2-Settings: AAMAAABk",
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
    "X-Request-Id: abc-1",
    "X-Request-Id: a b",
    "X-Forwarded-For: 1.2.3.4, ::1",
    "X-Forwarded-Host: evil.example",
    "X-Original-URL: /metrics",
    "X-HTTP-Method-Override: DELETE",
    "Forwarded: for=\"[::1]\";host=evil",
    "Cookie: a=b; c=\"d\"",
    "Authorization: Basic eDp5",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    "Referer: http://a.example/?q=%00#x",
    "Expect: 100-continue",
    "Expect: 100-Continue",
    "TE: trailers",
    "Trailer: X",
    "Content-Type: text/plain",
    "Content-Encoding: gzip",
    "Content-Length: 0",
    "X-Latin: \u{f1}\u{20ac}",
    "x!#$%&'*+-.^_`|~: 1",
    "X-Empty:",
    "X-Spaces: \t a \t b \t ",
];

/// Header lines that are malformed or change the framing of the request.
const TRAP_FRAGMENTS: [&str; 36] = [
    "Content-Length: 5",
    "Content-Length: +5",
    "Content-Length: 5,5",
    "Content-Length: 0x0",
    "Content-Length: 18446744073709551615",
    "Content-Length: 18446744073709551616",
    "Content-Length: -0",
    "Content-Length:",
    "Content-Length : 0",
    "Content-Length\t: 0",
    "Content_Length: 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding: \u{0}chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    " Transfer-Encoding: chunked",
    "\tX: folded",
    "Host: b",
    "Host:",
    "Host: a b",
    "Host: a@b",
    "Host: [::1",
    "Host : a",
    "Connection: close",
    "Connection: keep-alive, close",
    "Connection: Close",
    "Expect: 200-ok",
    "Expect: 100-continue, x",
    ": no name",
    "no colon",
];

const REQUEST_METHODS: [&str; 12] = [
    "HEAD", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "get", "PATCH", "M-SEARCH",
    "PROPFIND", "X!#$%'*+",
];

const MUTATION_BYTES: &[u8] = b"\r\n\0\t :;,/?#%&=@[]\"'+-_.0159aAzZ*\x0b\x0c\x7f\x80\xe9\xff";

/// Generates the bytes of connections.
pub struct RequestGenerator {
    rng: Rng,
    etag: String,
    corpus: Vec<Vec<u8>>,
    /// Lines with credentials, the first of which every request accepts; none if no token is needed.
    credentials: &'static [&'static str],
}

impl RequestGenerator {
    /// Some requests start from those in `corpus`. Most others have one of the lines `credentials`, and
    /// most of them the first one.
    pub fn new(
        seed: u64,
        etag: &str,
        corpus: Vec<Vec<u8>>,
        credentials: &'static [&'static str],
    ) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            etag: etag.to_owned(),
            corpus,
            credentials,
        }
    }

    /// The bytes of one connection.
    pub fn generate_connection(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.rng.usize(0..24) {
            match self.rng.u8(0..50) {
                0 => bytes.extend(self.generate_malformed()),
                1..20 => bytes.extend(self.generate_plain()),
                _ => bytes.extend(self.generate_valid()),
            }
        }
        let last = if self.rng.u8(0..4) > 0 {
            self.generate_malformed()
        } else {
            self.generate_valid()
        };
        bytes.extend(last);
        // The server answers this request only if it has not closed the connection.
        bytes.extend_from_slice(b"GET /salud/listo HTTP/1.1\r\nHost: last\r\n\r\n");
        bytes
    }

    /// The ends of the pieces in which the bytes are sent.
    pub fn generate_cuts(&mut self, length: usize) -> Vec<usize> {
        let count = match self.rng.u8(0..16) {
            0 => 8,
            1..4 => self.rng.usize(1..4),
            _ => 0,
        };
        let mut cuts: Vec<usize> = (0..count)
            .map(|_| self.rng.usize(0..=length))
            .chain([length])
            .collect();
        cuts.sort_unstable();
        cuts
    }

    /// A request of the kind that the fast path answers.
    fn generate_plain(&mut self) -> Vec<u8> {
        let credentials = self.pick_credentials();
        let line = credentials.map_or_else(String::new, |line| format!("{line}\r\n"));
        let target = self.pick_from(&FAST_TARGETS);
        format!("GET {target} HTTP/1.1\r\nHost: test\r\n{line}\r\n").into_bytes()
    }

    fn pick_credentials(&mut self) -> Option<&'static str> {
        match self.rng.u8(0..8) {
            0 => None,
            1..4 if !self.credentials.is_empty() => Some(self.pick_from(self.credentials)),
            _ => self.credentials.first().copied(),
        }
    }

    /// A request after which the connection stays open.
    pub fn generate_valid(&mut self) -> Vec<u8> {
        let method = if self.rng.u8(0..5) == 0 {
            self.pick_from(&REQUEST_METHODS)
        } else {
            "GET"
        };
        let target = if self.rng.u8(0..2) == 0 {
            self.pick_from(&SOUND_TARGETS)
        } else {
            "/resumen"
        };
        let mut lines = vec![
            format!("{method} {target} HTTP/1.1"),
            "Host: test:8080".into(),
        ];
        lines.extend(self.pick_credentials().map(str::to_owned));
        for _ in 0..self.rng.usize(0..6) {
            let line = self.pick_from(&SOUND_FIELDS).replace("{etag}", &self.etag);
            // A repeated header of these is malformed.
            let is_single = ["Content-Length", "Expect"]
                .iter()
                .any(|name| line.starts_with(name));
            if !is_single || !lines.iter().any(|known| known[..3] == line[..3]) {
                lines.insert(self.rng.usize(1..=lines.len()), line);
            }
        }
        format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    /// A request that may be malformed.
    fn generate_malformed(&mut self) -> Vec<u8> {
        let mut bytes = match self.rng.u8(0..8) {
            0..4 => self.generate_trapped(),
            4 => self.generate_valid(),
            _ => self.pick_from_corpus(),
        };
        for _ in 0..self.rng.usize(0..4) {
            self.mutate_bytes(&mut bytes);
        }
        bytes
    }

    fn pick_from_corpus(&mut self) -> Vec<u8> {
        loop {
            let at = self.rng.usize(..self.corpus.len());
            // Long requests would take most of the time.
            if self.corpus[at].len() < 4096 || self.rng.u8(0..40) == 0 {
                return self.corpus[at].clone();
            }
        }
    }

    fn generate_trapped(&mut self) -> Vec<u8> {
        let bytes = self.generate_valid();
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(|line| [line, b"\n"].concat())
            .collect();
        lines.pop();
        for _ in 0..self.rng.usize(1..4) {
            let at = self.rng.usize(1..lines.len());
            match self.rng.u8(0..12) {
                0 => {
                    let target = self.pick_from(&ODD_TARGETS);
                    lines[0] = format!("GET {target} HTTP/1.1\r\n").into_bytes();
                }
                1 => {
                    let version = self.pick_from(&[
                        "HTTP/1.0",
                        "HTTP/1.2",
                        "HTTP/2.0",
                        "http/1.1",
                        "HTTP/1.1 ",
                        "HTTP/11",
                        "",
                    ]);
                    lines[0] = format!("GET /resumen {version}\r\n").into_bytes();
                }
                2 => lines[at] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
                _ => {
                    let fragment = self.pick_from(&TRAP_FRAGMENTS);
                    lines.insert(at, format!("{fragment}\r\n").into_bytes());
                }
            }
        }
        lines.push(
            self.pick_from(&["", "", "hello", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"])
                .into(),
        );
        lines.concat()
    }

    fn mutate_bytes(&mut self, bytes: &mut Vec<u8>) {
        let at = self
            .rng
            .usize(..bytes.len().max(1))
            .min(bytes.len().saturating_sub(1));
        if bytes.is_empty() {
            return;
        }
        let end = (at + self.rng.usize(1..16)).min(bytes.len());
        match self.rng.u8(0..9) {
            0 => bytes[at] ^= 1 << self.rng.u8(0..8),
            1 => bytes[at] = self.rng.u8(..),
            2 | 3 => bytes.insert(at, MUTATION_BYTES[self.rng.usize(..MUTATION_BYTES.len())]),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => bytes[at] = bytes[at].to_ascii_uppercase() ^ 0x20,
            7 => bytes.truncate(end),
            _ => {
                let other = self.pick_from_corpus();
                let from = self.rng.usize(..other.len().max(1)).min(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }

    fn pick_from(&mut self, list: &[&'static str]) -> &'static str {
        list[self.rng.usize(..list.len())]
    }
}
