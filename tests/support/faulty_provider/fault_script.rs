//! The language of scripts. A script is a list of steps, played once per request on a connection:
//!
//! | step | does |
//! |---|---|
//! | `send BYTES` | sends |
//! | `head 200 \| Name: value \| …` | sends a status line and headers |
//! | `json TEXT` | sends a whole 200 answer with that body |
//! | `chunk BYTES`, `last chunk` | send one chunk, and the end of a chunked body |
//! | `bare BYTES` | sends as it is what TLS should have wrapped |
//! | `drip 100ms BYTES` | sends byte by byte, one per pause |
//! | `flood BYTES` | sends again and again, until the client goes |
//! | `frame KIND FLAGS BYTES` | by HTTP/2: sends a frame; flags in hexadecimal, on the stream of the latest request |
//! | `flood frame …` | the same again and again, until the client goes |
//! | `sleep 50ms` · `stall` | waits · waits until the client goes |
//! | `await` | waits for the next request on this connection |
//! | `again` | the same, and begins anew |
//! | `close` · `cut` · `reset` | ends with FIN (and TLS's goodbye) · FIN without goodbye · RST |
//! | `greet` | as the first step: do not wait for a request |
//!
//! The end of a script closes. `BYTES` is text with `\r \n \0 \\ \xHH`, or an expression: `gzip BYTES`, `br BYTES`,
//! `zstd BYTES`, `times N BYTES`, `zeros N`, `cut N BYTES` (without its last N bytes), `corrupt N BYTES` (its Nth byte
//! inverted).

use std::io::Write as _;
use std::time::Duration;

/// What one connection does.
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    /// Whether it begins without waiting for a request.
    pub sends_before_request: bool,
    /// In order, once per request.
    pub steps: Vec<FaultStep>,
}

/// One step of a script.
#[derive(Debug, Clone)]
pub enum FaultStep {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes past TLS.
    SendPlaintext(Vec<u8>),
    /// Sends bytes one by one, each after a pause.
    SendSlowly(Duration, Vec<u8>),
    /// Sends bytes until the client goes.
    SendForever(Vec<u8>),
    /// Sends an HTTP/2 frame, once or until the client goes.
    SendFrame(Http2Frame, Repeat),
    /// Waits.
    Sleep(Duration),
    /// Waits until the client goes.
    WaitForDisconnect,
    /// Waits for the next request.
    AwaitRequest,
    /// Waits for the next request and begins anew.
    Restart,
    /// Ends the connection in order.
    Close,
    /// Ends the connection without TLS's goodbye.
    CloseAbruptly,
    /// Ends the connection with an RST.
    Reset,
}

/// How often a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    Once,
    /// Until the client goes.
    Forever,
}

/// One frame of HTTP/2 (RFC 9113, 4.1).
#[derive(Debug, Clone)]
pub struct Http2Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Http2Frame {
    /// A frame without a payload.
    pub fn settings(flags: u8) -> Self {
        Self {
            kind: 4,
            flags,
            payload: Vec::new(),
        }
    }

    /// `KIND FLAGS BYTES`
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
            kind: kind.unwrap_or_else(|| panic!("no frame: {text}")) as u8,
            flags: u8::from_str_radix(flags, 16).unwrap(),
            payload: evaluate_bytes(parts.next().unwrap_or_default()),
        }
    }

    /// The frame's bytes, on `stream` if its kind belongs to one.
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

impl FaultScript {
    /// Reads a script; panics at a mistake, since scripts are part of the tests.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Self {
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let greets = lines.first() == Some(&"greet");
        Self {
            sends_before_request: greets,
            steps: lines[usize::from(greets)..]
                .iter()
                .map(|line| parse_step(line))
                .collect(),
        }
    }
}

/// `150ms` or `2s`.
pub fn parse_script_duration(text: &str) -> Duration {
    let number = |digits: &str| {
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no duration: {text}"))
    };
    match text.strip_suffix("ms") {
        Some(digits) => Duration::from_millis(number(digits)),
        None => Duration::from_secs(number(text.strip_suffix('s').unwrap_or("?"))),
    }
}

fn parse_step(line: &str) -> FaultStep {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "send" => FaultStep::Send(evaluate_bytes(rest)),
        "bare" => FaultStep::SendPlaintext(evaluate_bytes(rest)),
        "head" => FaultStep::Send(build_head(rest)),
        "json" => {
            let length = format!("Content-Length: {}", rest.len());
            FaultStep::Send(
                [
                    build_head(&format!("200 | Content-Type: application/json | {length}")),
                    rest.into(),
                ]
                .concat(),
            )
        }
        "chunk" => {
            let chunk = evaluate_bytes(rest);
            FaultStep::Send([format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat())
        }
        "last" => FaultStep::Send(b"0\r\n\r\n".to_vec()),
        "drip" => {
            let (pause, rest) = rest.split_once(' ').unwrap();
            FaultStep::SendSlowly(parse_script_duration(pause), evaluate_bytes(rest))
        }
        "frame" => FaultStep::SendFrame(Http2Frame::parse(rest), Repeat::Once),
        "flood" if rest.starts_with("frame ") => {
            let frame = rest.trim_start_matches("frame ");
            FaultStep::SendFrame(Http2Frame::parse(frame), Repeat::Forever)
        }
        "flood" => FaultStep::SendForever(evaluate_bytes(rest)),
        "sleep" => FaultStep::Sleep(parse_script_duration(rest)),
        "stall" => FaultStep::WaitForDisconnect,
        "await" => FaultStep::AwaitRequest,
        "again" => FaultStep::Restart,
        "close" => FaultStep::Close,
        "cut" => FaultStep::CloseAbruptly,
        "reset" => FaultStep::Reset,
        _ => panic!("no step of a script: {line}"),
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
                .unwrap_or_else(|_| panic!("no count: {expression}")),
            rest,
        )
    };
    match word {
        "gzip" => compress_gzip(&evaluate_bytes(rest)),
        "br" => compress_brotli(&evaluate_bytes(rest)),
        "zstd" => zstd::encode_all(&*evaluate_bytes(rest), 3).unwrap(),
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
