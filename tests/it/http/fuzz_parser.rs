//! A second reader of requests, slow and by the letter: what a stream of bytes holds, written without a look at how the
//! service reads it.

use ::http::Uri;

/// The most fields of a head.
const MAX_FIELDS: usize = 64;

/// Heads of this many bytes fit; of [`TOO_LONG`] and more they do not; between the two it depends on how the bytes come.
pub const FITTING_HEAD_SIZE: usize = 15 * 1024;
pub const OVERSIZED_HEAD_SIZE: usize = 40 * 1024;

/// What the bytes begin with.
#[derive(Debug)]
pub enum ParsedInput {
    /// Nothing, or empty lines only.
    Empty,
    /// A head whose end does not come.
    Incomplete,
    /// A head whose length makes it a matter of luck.
    Ambiguous,
    /// Something that is no request; one of these statuses answers it.
    Malformed(&'static [u16]),
    /// A request.
    Request(Box<ParsedRequestHead>),
}

/// A request's head.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
pub struct ParsedRequestHead {
    pub method: String,
    pub uri: Uri,
    /// Whether it is of HTTP/1.0.
    pub is_http10: bool,
    /// Names in lower case, values without the spaces around them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Whether a line of it ends in a bare LF.
    pub has_bare_lf: bool,
    /// Whether its target has a fragment.
    pub has_fragment: bool,
    /// Whether a body follows.
    pub has_body: bool,
    /// Its length, empty lines before it included.
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

/// What `bytes` begin with.
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

/// The lines of a head, its empty last one included, without their LF. None if it does not end.
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
    let is_old = match version {
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
    let has_body = parse_body_framing(&fields, is_old)?;
    Ok(ParsedRequestHead {
        method: String::from_utf8_lossy(method).into_owned(),
        uri,
        is_http10: is_old,
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
    let begin = value
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(begin, |last| last + 1);
    let value = value[begin..end].to_vec();
    Some((String::from_utf8_lossy(name).to_ascii_lowercase(), value))
}

/// `token` of RFC 9110 §5.6.2.
fn is_field_name(text: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_token)
}

/// Whether a body follows these fields.
fn parse_body_framing(
    fields: &[(String, Vec<u8>)],
    is_old: bool,
) -> Result<bool, ExpectedStatuses> {
    let (mut chunked, mut coded, mut length) = (false, false, None);
    for (name, value) in fields {
        match name.as_str() {
            "transfer-encoding" if is_old => return Err(BAD_REQUEST),
            "transfer-encoding" => {
                let last = value
                    .rsplit(|byte| *byte == b',')
                    .next()
                    .unwrap_or_default();
                let is_text = value.iter().all(|byte| *byte < 0x80);
                chunked = is_text && last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                coded = true;
            }
            // Beside Transfer-Encoding it is refused anyway, whatever it says.
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
