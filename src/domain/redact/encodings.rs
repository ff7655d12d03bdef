//! How a secret may look where others have written it: quoted, escaped, encoded. Pure.
//!
//! Writers differ in what they escape, so there are two ways to find it. Escapes that spell out a byte or a character
//! (`%2F`, `\u002f`, `&#x2F;`, `&amp;`) are undone in the text, whoever wrote them and whether they were needed. The others
//! are few, and written into the secret.

use std::fmt::Write as _;
use std::ops::Range;

/// How often a text is decoded: what was encoded twice has `%25` in it.
const MAX_DECODE_PASSES: usize = 3;

/// The characters that HTML has names for and that somebody must escape.
const HTML_ENTITIES: [(&[u8], u8); 5] = [
    (b"amp", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
];

/// The most bytes between `&` and `;`.
const MAX_ENTITY_BYTES: usize = 10;

/// A text with its escapes undone.
pub(crate) struct DecodedText {
    /// What it says.
    pub(crate) bytes: Vec<u8>,
    /// Where each byte stands in the text, and where the text ends.
    original_offsets: Vec<usize>,
}

impl DecodedText {
    /// `text` decoded once, twice, and so on, while that changes anything.
    pub(crate) fn decode_passes(text: &str) -> impl Iterator<Item = Self> {
        let bare = Self {
            bytes: text.as_bytes().to_vec(),
            original_offsets: (0..=text.len()).collect(),
        };
        std::iter::successors(bare.decode_once(), Self::decode_once).take(MAX_DECODE_PASSES)
    }

    /// Where in the text `range` of the bytes stands.
    pub(crate) fn original_range(&self, range: &Range<usize>) -> Range<usize> {
        self.original_offsets[range.start]..self.original_offsets[range.end]
    }

    /// This with one layer of escapes undone; none if there are no escapes.
    fn decode_once(&self) -> Option<Self> {
        let mut decoded = Self {
            bytes: Vec::new(),
            original_offsets: Vec::new(),
        };
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let (length, char) = parse_escape(rest).unwrap_or((1, EscapedUnit::Byte(rest[0])));
            let mut utf8 = [0; 4];
            let bytes = match char {
                EscapedUnit::Byte(byte) => {
                    utf8[0] = byte;
                    &utf8[..1]
                }
                EscapedUnit::Char(char) => char.encode_utf8(&mut utf8).as_bytes(),
            };
            decoded.bytes.extend_from_slice(bytes);
            decoded
                .original_offsets
                .extend(bytes.iter().map(|_| self.original_offsets[at]));
            at += length;
        }
        decoded.original_offsets.push(self.original_offsets[at]);
        (decoded.bytes.len() < self.bytes.len()).then_some(decoded)
    }
}

/// What an escape stands for.
enum EscapedUnit {
    Byte(u8),
    Char(char),
}

/// The escape at the beginning of `bytes`, and its length.
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
            let code = match &rest[..end] {
                [b'#', b'x' | b'X', digits @ ..] => hex(digits)?,
                [b'#', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
                name => u32::from(HTML_ENTITIES.iter().find(|(known, _)| *known == name)?.1),
            };
            Some((end + 2, EscapedUnit::Char(char::from_u32(code)?)))
        }
        _ => None,
    }
}

/// Every form of `secret` that is looked for beside what [`Layer`] undoes: as it is; inside a quoted text, and inside
/// one quoted again (a `Debug` field in a JSON line); as writers of JSON escape it; as a form's field. Most secrets look
/// the same in all.
pub(crate) fn secret_encodings(secret: String) -> Vec<String> {
    let once = quote_text(&secret);
    let [short, long] = [false, true].map(|ascii| escape_json(&secret, ascii));
    let (twice, plus) = (quote_text(&once), secret.replace(' ', "+"));
    vec![
        quote_text(&short),
        quote_text(&long),
        short,
        long,
        once,
        twice,
        plus,
        secret,
    ]
}

fn quote_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(c.escape_debug()),
            c => quoted.push(c),
        }
    }
    quoted
}

/// As those write JSON who escape `/`, and with `ascii` whatever is not ASCII too.
fn escape_json(text: &str, ascii: bool) -> String {
    let mut json = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' | '/' => json.extend(['\\', c]),
            c if c.is_control() || (ascii && !c.is_ascii()) => {
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
        let forms = secret_encodings("abc-DEF_123.~".into());
        assert!(
            forms.iter().all(|form| form == "abc-DEF_123.~"),
            "{forms:?}"
        );
    }

    #[test]
    fn special_secret_has_all_encodings() {
        let forms = secret_encodings("k/\"é' &+{1}\\".into());
        for form in [
            r#"k/\"é' &+{1}\\"#,
            r#"k\/\"é' &+{1}\\"#,
            r#"k\/\"\u00e9' &+{1}\\"#,
            r#"k/\\\"é' &+{1}\\\\"#,
            "k/\"é'+&+{1}\\",
        ] {
            assert!(
                forms.iter().any(|known| known == form),
                "{form} is not in {forms:#?}"
            );
        }
    }

    #[test]
    fn decoding_maps_original_offsets() {
        let text = "á%c3%A9\\u00e9%2525%zz%4";
        let layers: Vec<DecodedText> = DecodedText::decode_passes(text).collect();
        let read: Vec<_> = layers
            .iter()
            .map(|layer| String::from_utf8_lossy(&layer.bytes))
            .collect();
        assert_eq!(read, ["áéé%25%zz%4", "áéé%%zz%4"]);
        assert_eq!(
            &text[layers[1].original_range(&(2..7))],
            "%c3%A9\\u00e9%2525"
        );
        assert_eq!(layers[1].original_range(&(7..12)), 19..text.len());
        assert_eq!(DecodedText::decode_passes("nothing to undo").count(), 0);
    }
}
