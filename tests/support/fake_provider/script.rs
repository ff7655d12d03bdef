//! The language of scripts. A script is a list of steps, played once per request on a connection:
//!
//! | step | effect |
//! |---|---|
//! | `respond` | sends the provider's current [`FakeResponse`](super::FakeResponse) |
//! | `send BYTES` | sends |
//! | `head 200 \| Name: value \| …` | sends a status line and headers |
//! | `json TEXT` | sends a complete 200 response with this body |
//! | `chunk BYTES`, `last chunk` | sends one chunk, or the end of a chunked body |
//! | `bare BYTES` | sends plain bytes on a TLS connection |
//! | `drip 100ms BYTES` | sends byte by byte, with a pause after each |
//! | `flood BYTES` | sends repeatedly until the client disconnects |
//! | `frame KIND FLAGS BYTES` | HTTP/2: sends a frame, flags in hexadecimal, on the stream of the latest request |
//! | `flood frame …` | HTTP/2: sends the frame repeatedly until the client disconnects |
//! | `echo` | sends the request back, in the part of the response that its path names |
//! | `tunnel ADDRESS` | answers a CONNECT and forwards bytes to and from `ADDRESS` |
//! | `sleep 50ms` · `stall` | waits · waits until the client disconnects |
//! | `await` | waits for the next request on this connection |
//! | `again` | waits for the next request and starts over |
//! | `close` · `cut` · `reset` | ends with FIN (after TLS's `close_notify`) · FIN without it · RST |
//! | `greet` | as the first step: the script does not wait for a request |
//!
//! The end of a script closes. `BYTES` is text with `\r \n \0 \\ \xHH`, or an expression: `gzip BYTES`,
//! `br BYTES`, `zstd BYTES`, `deflate BYTES`, `raw-deflate BYTES`, `times N BYTES`, `zeros N`, `cut N BYTES` (without its last N bytes),
//! `corrupt N BYTES` (with its Nth byte inverted).

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// The script of one connection.
#[derive(Debug, Clone, Default)]
pub struct ProviderScript {
    /// Whether the steps begin without a request.
    pub sends_before_request: bool,
    pub steps: Vec<ScriptStep>,
}

/// One step of a script.
#[derive(Debug, Clone)]
pub enum ScriptStep {
    Respond,
    Send(Vec<u8>),
    /// Sends bytes below TLS.
    SendPlaintext(Vec<u8>),
    SendSlowly(Duration, Vec<u8>),
    SendForever(Vec<u8>),
    Echo,
    Tunnel(SocketAddr),
    /// Sends an HTTP/2 frame.
    SendFrame(Http2Frame, Repeat),
    Sleep(Duration),
    WaitForDisconnect,
    AwaitRequest,
    /// Waits for the next request and starts over.
    Restart,
    Close,
    /// Closes without TLS's `close_notify`.
    CloseAbruptly,
    Reset,
}

/// How often a step is performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Once,
    /// Until the client disconnects.
    Forever,
}

/// An HTTP/2 frame (RFC 9113, section 4.1).
#[derive(Debug, Clone)]
pub struct Http2Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Http2Frame {
    /// A SETTINGS frame without a payload.
    pub fn settings(flags: u8) -> Self {
        Self {
            kind: 4,
            flags,
            payload: Vec::new(),
        }
    }

    /// Reads `KIND FLAGS BYTES`.
    fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let kinds = [
            "data",
            "headers",
            "priority",
            "reset",
            "settings",
            "push",
            "ping",
            "goaway",
            "window",
            "continuation",
            "unknown",
        ];
        let kind = parts.next().unwrap();
        let kind = kinds.iter().position(|known| *known == kind);
        let flags = parts.next().unwrap_or("0");
        Self {
            kind: kind.unwrap_or_else(|| panic!("unknown frame: {text}")) as u8,
            flags: u8::from_str_radix(flags, 16).unwrap(),
            payload: evaluate_bytes(parts.next().unwrap_or_default()),
        }
    }

    /// The bytes of the frame, on `stream` unless its kind belongs to the connection.
    pub fn to_bytes(&self, stream: u32) -> Vec<u8> {
        let stream = match self.kind {
            4 | 6 | 7 | 8 => 0,
            _ => stream,
        };
        let length = (self.payload.len() as u32).to_be_bytes();
        [
            &length[1..],
            &[self.kind, self.flags],
            &stream.to_be_bytes(),
            &self.payload,
        ]
        .concat()
    }
}

impl ProviderScript {
    /// Reads a script. Panics at a mistake.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Self {
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let sends_before_request = lines.first() == Some(&"greet");
        let steps = &lines[usize::from(sends_before_request)..];
        Self {
            sends_before_request,
            steps: steps.iter().map(|line| parse_step(line)).collect(),
        }
    }
}

/// `150ms` or `2s`.
pub fn parse_script_duration(text: &str) -> Duration {
    let number = |digits: &str| {
        digits
            .parse()
            .unwrap_or_else(|_| panic!("invalid duration: {text}"))
    };
    match text.strip_suffix("ms") {
        Some(digits) => Duration::from_millis(number(digits)),
        None => Duration::from_secs(number(text.strip_suffix('s').unwrap_or("?"))),
    }
}

fn parse_step(line: &str) -> ScriptStep {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "respond" => ScriptStep::Respond,
        "echo" => ScriptStep::Echo,
        "tunnel" => ScriptStep::Tunnel(rest.parse().unwrap()),
        "send" => ScriptStep::Send(evaluate_bytes(rest)),
        "bare" => ScriptStep::SendPlaintext(evaluate_bytes(rest)),
        "head" => ScriptStep::Send(build_head(rest)),
        "json" => {
            let length = format!("Content-Length: {}", rest.len());
            ScriptStep::Send(
                [
                    build_head(&format!("200 | Content-Type: application/json | {length}")),
                    rest.into(),
                ]
                .concat(),
            )
        }
        "chunk" => {
            let chunk = evaluate_bytes(rest);
            ScriptStep::Send(
                [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat(),
            )
        }
        "last" => ScriptStep::Send(b"0\r\n\r\n".to_vec()),
        "drip" => {
            let (pause, rest) = rest.split_once(' ').unwrap();
            ScriptStep::SendSlowly(parse_script_duration(pause), evaluate_bytes(rest))
        }
        "frame" => ScriptStep::SendFrame(Http2Frame::parse(rest), Repeat::Once),
        "flood" if rest.starts_with("frame ") => {
            let frame = rest.trim_start_matches("frame ");
            ScriptStep::SendFrame(Http2Frame::parse(frame), Repeat::Forever)
        }
        "flood" => ScriptStep::SendForever(evaluate_bytes(rest)),
        "sleep" => ScriptStep::Sleep(parse_script_duration(rest)),
        "stall" => ScriptStep::WaitForDisconnect,
        "await" => ScriptStep::AwaitRequest,
        "again" => ScriptStep::Restart,
        "close" => ScriptStep::Close,
        "cut" => ScriptStep::CloseAbruptly,
        "reset" => ScriptStep::Reset,
        _ => panic!("unknown step: {line}"),
    }
}

fn build_head(text: &str) -> Vec<u8> {
    let mut parts = text.split(" | ");
    let mut head = format!(
        "HTTP/1.1 {} Scripted\r\n",
        parts.next().unwrap_or_default().trim()
    )
    .into_bytes();
    for header in parts {
        head.extend(unescape_bytes(header));
        head.extend(b"\r\n");
    }
    head.extend(b"\r\n");
    head
}

fn evaluate_bytes(expression: &str) -> Vec<u8> {
    let (word, rest) = expression.split_once(' ').unwrap_or((expression, ""));
    let counted = || {
        let (count, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        (
            count
                .parse::<usize>()
                .unwrap_or_else(|_| panic!("invalid count: {expression}")),
            rest,
        )
    };
    match word {
        "gzip" => compress_gzip(&evaluate_bytes(rest)),
        "br" => compress_brotli(&evaluate_bytes(rest)),
        "zstd" => zstd::encode_all(&*evaluate_bytes(rest), 3).unwrap(),
        "deflate" => compress_deflate(&evaluate_bytes(rest), true),
        "raw-deflate" => compress_deflate(&evaluate_bytes(rest), false),
        "zeros" => vec![0; counted().0],
        "times" => evaluate_bytes(counted().1).repeat(counted().0),
        "cut" => {
            let mut whole = evaluate_bytes(counted().1);
            whole.truncate(whole.len() - counted().0);
            whole
        }
        "corrupt" => {
            let mut whole = evaluate_bytes(counted().1);
            whole[counted().0] ^= 0xff;
            whole
        }
        _ => unescape_bytes(expression),
    }
}

fn compress_gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn compress_deflate(plain: &[u8], is_zlib: bool) -> Vec<u8> {
    let mut compress = flate2::Compress::new(flate2::Compression::fast(), is_zlib);
    let mut coded = Vec::with_capacity(plain.len() + 64);
    let end = flate2::FlushCompress::Finish;
    compress.compress_vec(plain, &mut coded, end).unwrap();
    coded
}

fn compress_brotli(plain: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut coded, 4096, 1, 22);
    encoder.write_all(plain).unwrap();
    drop(encoder);
    coded
}

fn unescape_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend(&rest.as_bytes()[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        match escape {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b'0' => bytes.push(0),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            other => bytes.extend([b'\\', other]),
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}
