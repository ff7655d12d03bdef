//! Charsets: bodies → UTF-8.
//!
//! The charset is that of a byte order mark, else the one that `Content-Type` names, else the one of the XML declaration
//! or of the HTML `meta` element, else UTF-8. Names are those of the WHATWG Encoding Standard; other names are ignored.

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

use super::super::error::ExtractError;
use super::super::raw_body::RawBody;
use crate::domain::{BodyFormat, Code};

/// The start of a page in which a `meta` element is looked for, in bytes (HTML, section 13.2.3.2).
const MAX_PRESCAN_BYTES: usize = 1024;

/// The start of an XML document in which the end of its declaration is looked for, in bytes.
const MAX_DECLARATION_BYTES: usize = 256;

/// Returns the body in UTF-8, without its byte order mark. A body whose charset is UTF-8 is not checked.
///
/// # Errors
/// `not_json` for JSON, else `invalid_body`: the body has bytes that are not of its charset.
pub(super) fn decode_text(body: &RawBody) -> Result<Bytes, ExtractError> {
    let bytes = &body.bytes;
    let (encoding, source, start) = detect_charset(body);
    if encoding == UTF_8 {
        return Ok(bytes.slice(start..));
    }
    let rest = &bytes[start..];
    if matches!(body.format, BodyFormat::Html { .. }) {
        let (text, _) = encoding.decode_without_bom_handling(rest);
        return Ok(text.into_owned().into());
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(rest);
    text.map(|text| text.into_owned().into()).ok_or_else(|| {
        let code = match body.format {
            BodyFormat::Json => Code::NotJson,
            _ => Code::InvalidBody,
        };
        let name = encoding.name();
        let message = format!("the body is not in {name}, the charset of its {source}");
        ExtractError::new(code, message)
    })
}

/// Returns the charset of a body, what names it, and the length of its byte order mark.
fn detect_charset(body: &RawBody) -> (&'static Encoding, &'static str, usize) {
    let bytes = &body.bytes;
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return (encoding, "byte order mark", length);
    }
    let named = body.charset.as_deref().map(str::as_bytes);
    if let Some(encoding) = named.and_then(Encoding::for_label_no_replacement) {
        return (encoding, "Content-Type", 0);
    }
    let (declared, source) = match body.format {
        BodyFormat::Xml => (declared_in_xml(bytes), "XML declaration"),
        BodyFormat::Html { .. } => (declared_in_html(bytes), "meta element"),
        _ => (None, ""),
    };
    (declared.unwrap_or(UTF_8), source, 0)
}

/// Returns the charset of `<?xml version="1.0" encoding="…"?>`.
fn declared_in_xml(bytes: &[u8]) -> Option<&'static Encoding> {
    // XML 1.0, appendix F: UTF-16 without a byte order mark is known by its first character.
    match bytes {
        [b'<', 0, ..] => return Some(UTF_16LE),
        [0, b'<', ..] => return Some(UTF_16BE),
        _ => {}
    }
    let start = &bytes[..bytes.len().min(MAX_DECLARATION_BYTES)];
    let declaration = start.strip_prefix(b"<?xml")?;
    let end = find(declaration, b"?>")?;
    let at = find(&declaration[..end], b"encoding")?;
    label_encoding(declared_value(&declaration[at + b"encoding".len()..end])?)
}

/// Returns the charset of `<meta charset="…">` or `<meta … content="text/html; charset=…">`.
fn declared_in_html(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = bytes[..bytes.len().min(MAX_PRESCAN_BYTES)].to_ascii_lowercase();
    let mut rest = start.as_slice();
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        rest = &rest[at..];
        if rest.starts_with(b"<!--") {
            rest = &rest[find(rest, b"-->")?..];
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'>')?;
        let (tag, behind) = rest.split_at(end);
        if tag.starts_with(b"<meta")
            && let Some(at) = find(tag, b"charset")
            && let Some(label) = declared_value(&tag[at + b"charset".len()..])
            && let Some(encoding) = label_encoding(label)
        {
            return Some(if encoding == X_USER_DEFINED {
                WINDOWS_1252
            } else {
                encoding
            });
        }
        rest = behind;
    }
    None
}

/// Returns the value behind a name: `= "utf-8"`.
fn declared_value(behind: &[u8]) -> Option<&[u8]> {
    let value = behind.trim_ascii_start().strip_prefix(b"=")?;
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let value = value.strip_prefix(b"'").unwrap_or(value);
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"\"';/>".contains(byte);
    let end = value.iter().position(is_end).unwrap_or(value.len());
    Some(&value[..end])
}

fn label_encoding(label: &[u8]) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label_no_replacement(label)?;
    // The declaration was read as ASCII, so the document cannot be UTF-16.
    Some(if encoding == UTF_16LE || encoding == UTF_16BE {
        UTF_8
    } else {
        encoding
    })
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, part)
}
