//! Parser for the request heads of the fast path: a GET of a target that may have a cached response, one
//! valid `Host`, and no field that changes the meaning of the request. Any other head is unsupported and
//! left to hyper and `validate`.

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, IF_NONE_MATCH, ORIGIN};
use http::{HeaderMap, HeaderValue};
use memchr::memchr;

use crate::server::validate::is_host;

/// The beginnings of the supported request lines.
const LINE_STARTS: [&[u8]; 4] = [
    b"GET /resumen ",
    b"GET /resumen?",
    b"GET /valor/",
    b"GET /insignia/",
];

const METHOD: &[u8] = b"GET ";

/// The end of a supported request line, without its line feed.
const LINE_END: &[u8] = b" HTTP/1.1\r";

/// Maximum length of a supported head, in bytes.
pub(super) const MAX_HEAD_LENGTH: usize = 8 * 1024;

/// Maximum number of header fields; the same limit as hyper's.
const MAX_FIELDS: usize = 64;

/// Names of the fields that a response depends on, in the order of [`RequestFields::as_key`].
const FIELD_NAMES: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, IF_NONE_MATCH, ORIGIN];

/// Result of parsing a head at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseResult<'a> {
    /// A supported head: its length in bytes, and the fields that matter.
    Complete(usize, RequestFields<'a>),
    /// The beginning of a head that may be supported.
    Incomplete,
    /// A head for hyper.
    Unsupported,
}

/// The values of the fields that decide whether and how a request is answered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestFields<'a> {
    /// The target of the request line: ASCII.
    pub(super) target: &'a str,
    /// `Host`: a valid host with an optional port. Empty until the field is parsed.
    pub(super) host: &'a [u8],
    /// `Authorization`
    pub(super) authorization: Option<&'a [u8]>,
    /// `Accept`
    pub(super) accept: Option<&'a [u8]>,
    /// `User-Agent`
    pub(super) user_agent: Option<&'a [u8]>,
    /// `X-Forwarded-For`
    pub(super) forwarded_for: Option<&'a [u8]>,
    /// `Accept-Encoding`
    pub(super) accept_encoding: Option<&'a [u8]>,
    /// `If-None-Match`
    pub(super) if_none_match: Option<&'a [u8]>,
    /// `Origin`
    pub(super) origin: Option<&'a [u8]>,
}

/// Parses the head at the start of `bytes`.
pub(super) fn parse_head(bytes: &[u8]) -> ParseResult<'_> {
    let may_be_line = |start: &&[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    if !LINE_STARTS.iter().any(may_be_line) {
        return ParseResult::Unsupported;
    }
    let incomplete = || {
        if bytes.len() < MAX_HEAD_LENGTH {
            ParseResult::Incomplete
        } else {
            ParseResult::Unsupported
        }
    };
    let Some(end) = memchr(b'\n', bytes) else {
        return incomplete();
    };
    let mut rest = &bytes[end + 1..];
    let Some(target) = parse_request_line(&bytes[..end]) else {
        return ParseResult::Unsupported;
    };
    let mut fields = FieldParser::default();
    fields.request_fields.target = target;
    loop {
        let Some(end) = memchr(b'\n', rest) else {
            return incomplete();
        };
        let Some(line) = rest[..end].strip_suffix(b"\r") else {
            return ParseResult::Unsupported;
        };
        rest = &rest[end + 1..];
        if line.is_empty() {
            return if fields.request_fields.host.is_empty() {
                ParseResult::Unsupported
            } else {
                ParseResult::Complete(bytes.len() - rest.len(), fields.request_fields)
            };
        }
        if fields.parse_field(line).is_none() {
            return ParseResult::Unsupported;
        }
    }
}

/// The target of a request line without its line feed. `None` if the line is not supported.
fn parse_request_line(line: &[u8]) -> Option<&str> {
    let target = line.strip_prefix(METHOD)?.strip_suffix(LINE_END)?;
    let target = std::str::from_utf8(target).ok()?;
    all_bytes(target.as_bytes(), is_target_byte).then_some(target)
}

impl<'a> RequestFields<'a> {
    /// The path of the target.
    pub(super) fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What a response depends on: the target, and the fields in the order of [`FIELD_NAMES`].
    pub(super) fn as_key(&self) -> [Option<&'a [u8]>; 5] {
        let target = Some(self.target.as_bytes());
        [
            target,
            self.accept,
            self.accept_encoding,
            self.if_none_match,
            self.origin,
        ]
    }

    /// The fields as hyper would parse them; `None` if a value is not valid.
    pub(super) fn to_header_map(self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in FIELD_NAMES.into_iter().zip(&self.as_key()[1..]) {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        Some(headers)
    }
}

/// State of parsing the header fields of one head.
#[derive(Default)]
struct FieldParser<'a> {
    field_count: usize,
    request_fields: RequestFields<'a>,
}

impl<'a> FieldParser<'a> {
    /// Parses one line without its line end. `None` if the field is malformed or not supported.
    fn parse_field(&mut self, line: &'a [u8]) -> Option<()> {
        let colon = memchr(b':', line)?;
        let (name, value) = (&line[..colon], trim_whitespace(&line[colon + 1..]));
        let is_valid =
            !name.is_empty() && all_bytes(name, is_token_byte) && all_bytes(value, is_printable);
        self.field_count += 1;
        if !is_valid || self.field_count > MAX_FIELDS {
            return None;
        }
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => {
                let earlier = std::mem::replace(&mut self.request_fields.host, value);
                (earlier.is_empty() && is_host(value)).then_some(())
            }
            6 if is(b"accept") => set_once(&mut self.request_fields.accept, value),
            6 if is(b"origin") => set_once(&mut self.request_fields.origin, value),
            13 if is(b"authorization") => set_once(&mut self.request_fields.authorization, value),
            13 if is(b"if-none-match") => set_once(&mut self.request_fields.if_none_match, value),
            10 if is(b"user-agent") => set_once(&mut self.request_fields.user_agent, value),
            15 if is(b"x-forwarded-for") => set_once(&mut self.request_fields.forwarded_for, value),
            15 if is(b"accept-encoding") => {
                set_once(&mut self.request_fields.accept_encoding, value)
            }
            // `Connection: close`, bodies, upgrades, expectations and request identifiers are
            // hyper's.
            10 if is(b"connection") => value.eq_ignore_ascii_case(b"keep-alive").then_some(()),
            6 if is(b"expect") => None,
            7 if is(b"upgrade") => None,
            12 if is(b"x-request-id") => None,
            14 if is(b"content-length") => None,
            17 if is(b"transfer-encoding") => None,
            _ => Some(()),
        }
    }
}

/// Sets the value of a field. `None` if the field is repeated: its values then form a list, which
/// the fast path does not support.
fn set_once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8]) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// `value` without the spaces and tabs around it (`OWS` of RFC 9110 §5.6.3).
fn trim_whitespace(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether every byte is valid. There is no early return, so that the compiler can vectorise the
/// loop.
fn all_bytes(bytes: &[u8], is_valid: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_valid(*byte))
}

/// Whether a target may contain the byte: those that every parser takes as they are (RFC 3986 §2).
fn is_target_byte(byte: u8) -> bool {
    is_token_byte(byte)
        || matches!(
            byte,
            b'/' | b'?' | b'=' | b'&' | b'%' | b'.' | b'~' | b',' | b'+' | b':'
        )
}

/// Whether a field name may contain the byte: `token` of RFC 9110 §5.6.2 without the characters
/// that no common name uses.
fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_')
}

/// Whether a field value may contain the byte. Values beyond ASCII are left to hyper.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_with_fields(fields: &str) -> String {
        format!("GET /resumen HTTP/1.1\r\n{fields}\r\n")
    }

    #[test]
    fn common_fields_are_parsed() {
        let fields = "host: a.example:8080\r\nauthorization: Bearer x\r\nUser-Agent: x (y; z) \"1\"\r\nACCEPT-encoding:\tgzip, br \r\n\
            Connection: Keep-Alive\r\nIf-None-Match: W/\"1\"\r\nCookie:\r\nsec_x: 1\r\n";
        let text = head_with_fields(fields);
        let expected = RequestFields {
            target: "/resumen",
            accept: None,
            host: b"a.example:8080",
            authorization: Some(b"Bearer x"),
            user_agent: Some(b"x (y; z) \"1\""),
            forwarded_for: None,
            accept_encoding: Some(b"gzip, br"),
            if_none_match: Some(b"W/\"1\""),
            origin: None,
        };
        assert_eq!(
            parse_head(text.as_bytes()),
            ParseResult::Complete(text.len(), expected)
        );
        let twice = text.repeat(2);
        assert_eq!(
            parse_head(twice.as_bytes()),
            ParseResult::Complete(text.len(), expected)
        );
    }

    #[test]
    fn targets_are_kept() {
        for target in [
            "/resumen?sources=btc,usd&format=flat",
            "/valor/btc/a%2Fb/c.d/~x_-0",
            "/insignia/btc/usd",
            "/valor/",
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
            let expected = RequestFields {
                target,
                host: b"a",
                accept: Some(b"*/*"),
                ..RequestFields::default()
            };
            let result = parse_head(text.as_bytes());
            assert_eq!(result, ParseResult::Complete(text.len(), expected));
            for end in 0..text.len() {
                let result = parse_head(&text.as_bytes()[..end]);
                assert_eq!(result, ParseResult::Incomplete, "{end}");
            }
        }
    }

    #[test]
    fn head_prefix_is_incomplete() {
        let text = head_with_fields("Host: a\r\nAccept: */*\r\n");
        for end in 0..text.len() {
            assert_eq!(
                parse_head(&text.as_bytes()[..end]),
                ParseResult::Incomplete,
                "{end}"
            );
        }
    }

    #[test]
    fn ambiguous_head_is_unsupported() {
        let fields = [
            "",
            "Host:\r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host : a\r\n",
            " Host: a\r\n",
            "Host: a\r\n folded\r\n",
            "Host: a\nX: y\r\n",
            "Host: a\r\nX\r\n",
            "Host: a\r\n: y\r\n",
            "Host: a\r\nX: \0\r\n",
            "Host: a\r\nX: a\rb\r\n",
            "Host: a\r\nX: a\r\r\n",
            "Host: a\r\nX:\ra\r\n",
            "Host: a\r\nX: a\u{c}\r\n",
            "Host: a\r\nX: \u{f1}\r\n",
            "Host: a\r\nX(: y\r\n",
            "Host: a\r\nContent-Length: 0\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nExpect: 100-continue\r\n",
            "Host: a\r\nUpgrade: h2c\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nX-Request-Id: 1\r\n",
            "Host: a\r\nAccept: */*\r\nAccept: */*\r\n",
            "Host: a\r\nAccept-Encoding: br\r\nAccept-Encoding: gzip\r\n",
            "Host: a\r\nAuthorization: x\r\nAuthorization: x\r\n",
        ];
        for fields in fields {
            assert_eq!(
                parse_head(head_with_fields(fields).as_bytes()),
                ParseResult::Unsupported,
                "{fields:?}"
            );
        }
        let many = head_with_fields(&format!("Host: a\r\n{}", "X: y\r\n".repeat(64)));
        let endless = format!(
            "GET /resumen HTTP/1.1\r\nHost: a\r\nX: {}",
            "y".repeat(MAX_HEAD_LENGTH)
        );
        let texts = [
            "GET /resumen/stream HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /resumen#x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /resumen?\"x\" HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /resumen  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /resumen?a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /valor/\u{f1} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /valor HTTP/1.1\r\n",
            "GET http://a/valor/x HTTP/1.1\r\n",
            "HEAD /resumen HTTP/1.1\r\nHost: a\r\n\r\n",
            "get /resumen",
            "GET /resumen HTTP/1.0\r\n\r\n",
            "GET  /resumen",
            "\r\nGET /resumen",
            "GET /resumen HTTP/1.1\nHost: a\n\n",
            &many,
            &endless,
        ];
        for text in texts {
            assert_eq!(
                parse_head(text.as_bytes()),
                ParseResult::Unsupported,
                "{text:?}"
            );
        }
    }
}
