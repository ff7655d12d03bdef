//! A second request parser for the oracle, written from the RFCs and independent of the service.

use ::http::Uri;

/// Maximum number of header fields.
const MAX_FIELDS: usize = 64;

/// Heads up to the first size are accepted and from the second size rejected. Between the two it depends
/// on the division of the bytes into reads.
pub const FITTING_HEAD_SIZE: usize = 15 * 1024;
pub const OVERSIZED_HEAD_SIZE: usize = 40 * 1024;

/// The first item in a stream of bytes.
#[derive(Debug)]
pub enum ParsedInput {
    /// No bytes, or empty lines only.
    Empty,
    /// A head without an end.
    Incomplete,
    /// A head that may be accepted or rejected because of its size.
    Ambiguous,
    /// A malformed head. The response has one of these statuses.
    Malformed(&'static [u16]),
    Request(Box<ParsedRequestHead>),
}

/// The head of a request.
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug)]
pub struct ParsedRequestHead {
    pub method: String,
    pub uri: Uri,
    pub is_http10: bool,
    /// Names in lower case, and trimmed values.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Whether a line ends in a bare LF.
    pub has_bare_lf: bool,
    /// Whether the target has a fragment.
    pub has_fragment: bool,
    /// Whether a body follows.
    pub has_body: bool,
    /// In bytes, with the empty lines before it.
    pub length: usize,
}

impl ParsedRequestHead {
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.fields
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// Parses the first item in `bytes`.
pub fn parse_input(bytes: &[u8]) -> ParsedInput {
    let mut has_bare_lf = false;
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\n', ..] => {
                has_bare_lf = true;
                at += 1;
            }
            [] | [b'\r'] => return ParsedInput::Empty,
            _ => break,
        }
    }
    let Some(lines) = split_lines(&bytes[at..]) else {
        return if bytes.len() - at >= OVERSIZED_HEAD_SIZE {
            ParsedInput::Malformed(&[400, 431])
        } else {
            ParsedInput::Incomplete
        };
    };
    let length = at + lines.iter().map(|line| line.len() + 1).sum::<usize>();
    match length - at {
        0..=FITTING_HEAD_SIZE => {}
        OVERSIZED_HEAD_SIZE.. => return ParsedInput::Malformed(&[400, 431]),
        _ => return ParsedInput::Ambiguous,
    }
    has_bare_lf |= lines.iter().any(|line| line.last() != Some(&b'\r'));
    match parse_head(&lines) {
        Ok(head) => ParsedInput::Request(Box::new(ParsedRequestHead {
            has_bare_lf,
            length,
            ..head
        })),
        Err(statuses) => ParsedInput::Malformed(statuses),
    }
}

/// The lines of a head without LF, up to the empty line. `None` without an empty line.
fn split_lines(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        lines.push(&rest[..end]);
        rest = &rest[end + 1..];
        if matches!(lines.last(), Some(&[] | &[b'\r'])) {
            return Some(lines);
        }
    }
}

type ExpectedStatuses = &'static [u16];
const BAD_REQUEST: ExpectedStatuses = &[400];
const HEAD_TOO_LARGE: ExpectedStatuses = &[431];

fn parse_head(lines: &[&[u8]]) -> Result<ParsedRequestHead, ExpectedStatuses> {
    let text = |line: &'_ [u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let first = text(lines[0]);
    let mut words = first.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD_REQUEST);
    };
    let is_target = |byte: &u8| (0x21..=0x7e).contains(byte) || *byte >= 0x80;
    if !is_field_name(method) || target.is_empty() || !target.iter().all(is_target) {
        return Err(BAD_REQUEST);
    }
    if std::str::from_utf8(target).is_err() {
        return Err(BAD_REQUEST);
    }
    let is_http10 = match version {
        b"HTTP/1.0" => true,
        b"HTTP/1.1" => false,
        _ => return Err(BAD_REQUEST),
    };
    let mut fields = Vec::new();
    for line in &lines[1..lines.len() - 1] {
        let field = parse_field(&text(line)).ok_or(BAD_REQUEST)?;
        if fields.len() == MAX_FIELDS {
            return Err(HEAD_TOO_LARGE);
        }
        fields.push(field);
    }
    let uri = Uri::try_from(target).map_err(|_| BAD_REQUEST)?;
    let has_body = parse_body_framing(&fields, is_http10)?;
    Ok(ParsedRequestHead {
        method: String::from_utf8_lossy(method).into_owned(),
        uri,
        is_http10,
        fields,
        has_fragment: target.contains(&b'#'),
        has_body,
        has_bare_lf: false,
        length: 0,
    })
}

fn parse_field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = |byte: &u8| *byte == b'\t' || (b' '..=0x7e).contains(byte) || *byte >= 0x80;
    if !is_field_name(name) || !value.iter().all(is_value) {
        return None;
    }
    let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    let value = value[start..end].to_vec();
    Some((String::from_utf8_lossy(name).to_ascii_lowercase(), value))
}

/// A `token` of RFC 9110 §5.6.2.
fn is_field_name(text: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_token)
}

/// Whether a body follows these headers (RFC 9112 §6).
fn parse_body_framing(
    fields: &[(String, Vec<u8>)],
    is_http10: bool,
) -> Result<bool, ExpectedStatuses> {
    let (mut chunked, mut coded, mut length) = (false, false, None);
    for (name, value) in fields {
        match name.as_str() {
            "transfer-encoding" if is_http10 => return Err(BAD_REQUEST),
            "transfer-encoding" => {
                let last = value
                    .rsplit(|byte| *byte == b',')
                    .next()
                    .unwrap_or_default();
                let is_text = value.iter().all(|byte| *byte < 0x80);
                chunked = is_text && last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                coded = true;
            }
            // The server rejects it beside Transfer-Encoding in any case.
            "content-length" if !coded => {
                let digits = std::str::from_utf8(value)
                    .ok()
                    .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                let number: u64 = digits
                    .and_then(|text| text.parse().ok())
                    .ok_or(BAD_REQUEST)?;
                if length.is_some_and(|known| known != number) {
                    return Err(BAD_REQUEST);
                }
                if number > u64::MAX - 2 {
                    return Err(HEAD_TOO_LARGE);
                }
                length = Some(number);
            }
            _ => {}
        }
    }
    if coded && !chunked {
        return Err(BAD_REQUEST);
    }
    Ok(coded || length.is_some_and(|number| number > 0))
}
