//! A second reader of requests, slow and by the letter: what a stream of bytes holds, written without a look at how the
//! service reads it.

use ::http::Uri;

/// The most fields of a head.
const MOST_FIELDS: usize = 64;

/// Heads of this many bytes fit; of [`TOO_LONG`] and more they do not; between the two it depends on how the bytes come.
pub const FITS: usize = 15 * 1024;
pub const TOO_LONG: usize = 40 * 1024;

/// What the bytes begin with.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or empty lines only.
    Nothing,
    /// A head whose end does not come.
    Cut,
    /// A head whose length makes it a matter of luck.
    Unclear,
    /// Something that is no request; one of these statuses answers it.
    Broken(&'static [u16]),
    /// A request.
    Request(Box<Head>),
}

/// A request's head.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
pub struct Head {
    pub method: String,
    pub uri: Uri,
    /// Whether it is of HTTP/1.0.
    pub is_old: bool,
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

impl Head {
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.fields
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// What `bytes` begin with.
pub fn read(bytes: &[u8]) -> Found {
    let mut has_bare_lf = false;
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\n', ..] => {
                has_bare_lf = true;
                at += 1;
            }
            [] | [b'\r'] => return Found::Nothing,
            _ => break,
        }
    }
    let Some(lines) = lines(&bytes[at..]) else {
        return if bytes.len() - at >= TOO_LONG {
            Found::Broken(&[400, 431])
        } else {
            Found::Cut
        };
    };
    let length = at + lines.iter().map(|line| line.len() + 1).sum::<usize>();
    match length - at {
        0..=FITS => {}
        TOO_LONG.. => return Found::Broken(&[400, 431]),
        _ => return Found::Unclear,
    }
    has_bare_lf |= lines.iter().any(|line| line.last() != Some(&b'\r'));
    match parse(&lines) {
        Ok(head) => Found::Request(Box::new(Head {
            has_bare_lf,
            length,
            ..head
        })),
        Err(statuses) => Found::Broken(statuses),
    }
}

/// The lines of a head, its empty last one included, without their LF. None if it does not end.
fn lines(bytes: &[u8]) -> Option<Vec<&[u8]>> {
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

type Statuses = &'static [u16];
const BAD: Statuses = &[400];
const LARGE: Statuses = &[431];

fn parse(lines: &[&[u8]]) -> Result<Head, Statuses> {
    let text = |line: &'_ [u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let first = text(lines[0]);
    let mut words = first.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    let is_target = |byte: &u8| (0x21..=0x7e).contains(byte) || *byte >= 0x80;
    if !is_name(method) || target.is_empty() || !target.iter().all(is_target) {
        return Err(BAD);
    }
    if std::str::from_utf8(target).is_err() {
        return Err(BAD);
    }
    let is_old = match version {
        b"HTTP/1.0" => true,
        b"HTTP/1.1" => false,
        _ => return Err(BAD),
    };
    let mut fields = Vec::new();
    for line in &lines[1..lines.len() - 1] {
        let field = field(&text(line)).ok_or(BAD)?;
        if fields.len() == MOST_FIELDS {
            return Err(LARGE);
        }
        fields.push(field);
    }
    let uri = Uri::try_from(target).map_err(|_| BAD)?;
    let has_body = body(&fields, is_old)?;
    Ok(Head {
        method: String::from_utf8_lossy(method).into_owned(),
        uri,
        is_old,
        fields,
        has_fragment: target.contains(&b'#'),
        has_body,
        has_bare_lf: false,
        length: 0,
    })
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = |byte: &u8| *byte == b'\t' || (b' '..=0x7e).contains(byte) || *byte >= 0x80;
    if !is_name(name) || !value.iter().all(is_value) {
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
fn is_name(text: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_token)
}

/// Whether a body follows these fields.
fn body(fields: &[(String, Vec<u8>)], is_old: bool) -> Result<bool, Statuses> {
    let (mut chunked, mut coded, mut length) = (false, false, None);
    for (name, value) in fields {
        match name.as_str() {
            "transfer-encoding" if is_old => return Err(BAD),
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
                let number: u64 = digits.and_then(|text| text.parse().ok()).ok_or(BAD)?;
                if length.is_some_and(|known| known != number) {
                    return Err(BAD);
                }
                if number > u64::MAX - 2 {
                    return Err(LARGE);
                }
                length = Some(number);
            }
            _ => {}
        }
    }
    if coded && !chunked {
        return Err(BAD);
    }
    Ok(coded || length.is_some_and(|number| number > 0))
}
