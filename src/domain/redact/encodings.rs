//! Encodings of a secret in foreign text: quoted, escaped, percent-encoded.
//!
//! Encoders differ in the characters that they escape, so a secret is recognised in two ways.
//! Escapes that stand for one byte or character (`%2F`, `\u002f`, `&#x2F;`, `&amp;`) are decoded in
//! the text, necessary or not. The few other encodings are applied to the secret, each as a pattern
//! to search.

use std::fmt::Write as _;
use std::ops::Range;

/// Maximum number of decoding passes, for text that is encoded more than once (`%252F`).
const MAX_DECODE_PASSES: usize = 3;

/// Named references of the characters that HTML escapes.
const HTML_ENTITIES: [(&[u8], u8); 5] = [
    (b"amp", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
];

/// Number of bytes of an escape such as `\u0073`, of one byte of a secret.
pub(crate) const MAX_ESCAPE_BYTES: usize = 6;

/// Maximum number of bytes between `&` and `;`.
const MAX_ENTITY_BYTES: usize = 10;

/// A text with its escapes decoded.
pub(crate) struct DecodedText {
    /// Decoded text.
    pub(crate) bytes: Vec<u8>,
    /// Offset in the original text of each decoded byte, and at the end the length of that text.
    original_offsets: Vec<usize>,
}

impl DecodedText {
    /// Returns `text` decoded once, twice and so on, at most [`MAX_DECODE_PASSES`] times, as long
    /// as a pass changes it.
    pub(crate) fn decode_passes(text: &str) -> impl Iterator<Item = Self> {
        let original = Self {
            bytes: text.as_bytes().to_vec(),
            original_offsets: (0..=text.len()).collect(),
        };
        std::iter::successors(original.decode_once(), Self::decode_once).take(MAX_DECODE_PASSES)
    }

    /// Returns the range of the original text that was decoded to `range` of the bytes.
    pub(crate) fn original_range(&self, range: &Range<usize>) -> Range<usize> {
        self.original_offsets[range.start]..self.original_offsets[range.end]
    }

    /// Returns the text with one layer of escapes decoded; `None` if there is no escape.
    fn decode_once(&self) -> Option<Self> {
        let mut decoded = Self {
            bytes: Vec::new(),
            original_offsets: Vec::new(),
        };
        let mut position = 0;
        while position < self.bytes.len() {
            let rest = &self.bytes[position..];
            let (length, unit) = parse_escape(rest).unwrap_or((1, EscapedUnit::Byte(rest[0])));
            let mut utf8 = [0; 4];
            let bytes = match unit {
                EscapedUnit::Byte(byte) => {
                    utf8[0] = byte;
                    &utf8[..1]
                }
                EscapedUnit::Char(char) => char.encode_utf8(&mut utf8).as_bytes(),
            };
            decoded.bytes.extend_from_slice(bytes);
            decoded
                .original_offsets
                .extend(bytes.iter().map(|_| self.original_offsets[position]));
            position += length;
        }
        decoded
            .original_offsets
            .push(self.original_offsets[position]);
        // Every escape is longer than its value, so an equal length means that there was none.
        (decoded.bytes.len() < self.bytes.len()).then_some(decoded)
    }
}

/// Value of an escape.
enum EscapedUnit {
    Byte(u8),
    Char(char),
}

/// Parses the escape at the start of `bytes`; returns its length and its value.
fn parse_escape(bytes: &[u8]) -> Option<(usize, EscapedUnit)> {
    let hex = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    match bytes {
        [b'%', rest @ ..] => Some((
            3,
            EscapedUnit::Byte(u8::try_from(hex(rest.get(..2)?)?).ok()?),
        )),
        [b'\\', b'u', rest @ ..] => {
            Some((6, EscapedUnit::Char(char::from_u32(hex(rest.get(..4)?)?)?)))
        }
        [b'&', rest @ ..] => {
            let end = rest
                .iter()
                .take(MAX_ENTITY_BYTES)
                .position(|byte| *byte == b';')?;
            let code_point = match &rest[..end] {
                [b'#', b'x' | b'X', digits @ ..] => hex(digits)?,
                [b'#', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
                name => u32::from(HTML_ENTITIES.iter().find(|(known, _)| *known == name)?.1),
            };
            Some((end + 2, EscapedUnit::Char(char::from_u32(code_point)?)))
        }
        _ => None,
    }
}

/// Returns the encodings of `secret` that [`DecodedText`] does not decode: plain, `Debug` quotes,
/// `Debug` quotes within quotes (a `Debug` field in a JSON log line), JSON escapes (all as `\uXXXX`, or
/// `\n` and the like), and a form field. Most secrets are the same text in all of them.
pub(crate) fn secret_encodings(secret: String) -> Vec<String> {
    let quoted = quote_text(&secret);
    let json = escape_json(&secret, false);
    let ascii_json = escape_json(&secret, true);
    vec![
        quote_text(&quoted),
        quoted,
        quote_text(&json),
        json,
        quote_text(&ascii_json),
        ascii_json,
        crate::text::escape_json(&secret),
        secret.replace(' ', "+"),
        secret,
    ]
}

/// Returns `text` as in a `Debug` string, without the quotes around it. Text log lines have it so.
fn quote_text(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted[1..quoted.len() - 1].to_owned()
}

/// Returns `text` escaped as in a JSON string, `/` included; with `ascii`, non-ASCII characters
/// too.
fn escape_json(text: &str, ascii: bool) -> String {
    let mut json = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' | '/' => json.extend(['\\', c]),
            c if c.is_control() || (ascii && !c.is_ascii()) => {
                // JSON escapes UTF-16 units: a character above U+FFFF is a surrogate pair.
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
            c => json.push(c),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_secret_has_one_encoding() {
        let encodings = secret_encodings("abc-DEF_123.~".into());
        assert!(
            encodings.iter().all(|one| one == "abc-DEF_123.~"),
            "{encodings:?}"
        );
    }

    #[test]
    fn special_secret_has_all_encodings() {
        let encodings = secret_encodings("k/\"é' &+{1}\\".into());
        for expected in [
            r#"k/\"é' &+{1}\\"#,
            r#"k\/\"é' &+{1}\\"#,
            r#"k\/\"\u00e9' &+{1}\\"#,
            r#"k/\\\"é' &+{1}\\\\"#,
            "k/\"é'+&+{1}\\",
        ] {
            assert!(
                encodings.iter().any(|one| one == expected),
                "{expected} is not in {encodings:#?}"
            );
        }
    }

    #[test]
    fn short_json_escapes_are_known() {
        let encodings = secret_encodings("a\n\u{8}\u{7}b".into());
        let expected = r"a\n\b\u0007b".to_owned();
        assert!(encodings.contains(&expected), "{encodings:#?}");
    }

    #[test]
    fn decoding_maps_original_offsets() {
        let text = "á%c3%A9\\u00e9%2525%zz%4";
        let passes: Vec<DecodedText> = DecodedText::decode_passes(text).collect();
        let decoded: Vec<_> = passes
            .iter()
            .map(|pass| String::from_utf8_lossy(&pass.bytes))
            .collect();
        assert_eq!(decoded, ["áéé%25%zz%4", "áéé%%zz%4"]);
        assert_eq!(
            &text[passes[1].original_range(&(2..7))],
            "%c3%A9\\u00e9%2525"
        );
        assert_eq!(passes[1].original_range(&(7..12)), 19..text.len());
        assert_eq!(DecodedText::decode_passes("nothing to decode").count(), 0);
    }
}
