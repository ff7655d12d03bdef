//! Writer from the values of filters to JSON text on one line. A number without arithmetic keeps
//! its digits.

use std::fmt::Write as _;

use jaq_json::{Map, Num, Val};

use super::depth::MAX_DEPTH;
use super::json::check_strict;

/// Error of a value that cannot be written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonWriteError {
    /// The text is longer than the limit.
    #[error("too much text")]
    TooLarge,
    /// The value is deeper than [`MAX_DEPTH`].
    #[error("more than {MAX_DEPTH} levels")]
    TooDeep,
    /// The number is NaN or infinite.
    #[error("a number that JSON cannot write (NaN or infinite)")]
    NotFinite,
    /// The name of a member is not a string.
    #[error("an object whose names are not all strings")]
    NonStringName,
    /// The string is not UTF-8.
    #[error("bytes that are no text")]
    InvalidText,
}

/// Returns `value` as JSON on one line, at most `limit` bytes.
pub(super) fn write_json(value: &Val, limit: usize) -> Result<String, JsonWriteError> {
    let mut writer = JsonWriter {
        out: String::new(),
        limit,
    };
    writer.write_value(value, 0)?;
    Ok(writer.out)
}

struct JsonWriter {
    out: String,
    limit: usize,
}

impl JsonWriter {
    fn write_value(&mut self, value: &Val, depth: usize) -> Result<(), JsonWriteError> {
        match value {
            Val::Null => self.write_text("null"),
            Val::Bool(true) => self.write_text("true"),
            Val::Bool(false) => self.write_text("false"),
            Val::Num(number) => self.write_number(number),
            Val::TStr(text) => self.write_string(text),
            Val::BStr(_) => Err(JsonWriteError::InvalidText),
            Val::Arr(_) | Val::Obj(_) if depth == MAX_DEPTH => Err(JsonWriteError::TooDeep),
            Val::Arr(items) => self.write_array(items, depth + 1),
            Val::Obj(members) => self.write_object(members, depth + 1),
        }
    }

    fn write_array(&mut self, items: &[Val], depth: usize) -> Result<(), JsonWriteError> {
        for (position, item) in items.iter().enumerate() {
            self.write_text(if position == 0 { "[" } else { "," })?;
            self.write_value(item, depth)?;
        }
        self.write_text(if items.is_empty() { "[]" } else { "]" })
    }

    fn write_object(&mut self, members: &Map, depth: usize) -> Result<(), JsonWriteError> {
        for (position, (name, value)) in members.iter().enumerate() {
            let Val::TStr(name) = name else {
                return Err(JsonWriteError::NonStringName);
            };
            self.write_text(if position == 0 { "{" } else { "," })?;
            self.write_string(name)?;
            self.write_text(":")?;
            self.write_value(value, depth)?;
        }
        self.write_text(if members.is_empty() { "{}" } else { "}" })
    }

    fn write_number(&mut self, number: &Num) -> Result<(), JsonWriteError> {
        match number {
            Num::Int(i) => self.write_text(&i.to_string()),
            Num::BigInt(i) => self.write_text(&i.to_string()),
            Num::Float(f) => self.write_float(*f),
            Num::Dec(text) if check_strict(text).is_ok() => self.write_text(text),
            Num::Dec(text) => self.write_float(text.parse().unwrap_or(f64::NAN)),
        }
    }

    /// Writes the shortest text that parses to the same double, a whole number without a fraction.
    fn write_float(&mut self, f: f64) -> Result<(), JsonWriteError> {
        if !f.is_finite() {
            return Err(JsonWriteError::NotFinite);
        }
        let is_plain = f == 0.0 || (1e-5..1e17).contains(&f.abs());
        self.write_text(&if is_plain {
            f.to_string()
        } else {
            format!("{f:e}")
        })
    }

    fn write_string(&mut self, bytes: &[u8]) -> Result<(), JsonWriteError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonWriteError::InvalidText)?;
        self.write_text("\"")?;
        let mut rest = text;
        while let Some(offset) = rest
            .bytes()
            .position(|b| b < b' ' || matches!(b, b'"' | b'\\' | 0x7F))
        {
            self.write_text(&rest[..offset])?;
            self.write_escape(rest.as_bytes()[offset])?;
            rest = &rest[offset + 1..];
        }
        self.write_text(rest)?;
        self.write_text("\"")
    }

    fn write_escape(&mut self, byte: u8) -> Result<(), JsonWriteError> {
        match byte {
            b'"' => self.write_text("\\\""),
            b'\\' => self.write_text("\\\\"),
            b'\n' => self.write_text("\\n"),
            b'\r' => self.write_text("\\r"),
            b'\t' => self.write_text("\\t"),
            other => {
                // The empty text checks the limit.
                let _ = write!(self.out, "\\u{other:04x}");
                self.write_text("")
            }
        }
    }

    fn write_text(&mut self, text: &str) -> Result<(), JsonWriteError> {
        if self.out.len() + text.len() > self.limit {
            return Err(JsonWriteError::TooLarge);
        }
        self.out.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_short() {
        let written = |f: f64| write_json(&Val::from(f), 400);
        for (f, text) in [
            (3.0, "3"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e16, "10000000000000000"),
            (1e17, "1e17"),
            (1.5e300, "1.5e300"),
            (-2.5e-7, "-2.5e-7"),
            (5e-324, "5e-324"),
            (97_123.45, "97123.45"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(written(f).as_deref(), Ok(text));
            assert_eq!(check_strict(text), Ok(()));
        }
        for f in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(written(f), Err(JsonWriteError::NotFinite));
        }
    }

    #[test]
    fn unwritable_values_are_rejected() {
        assert_eq!(
            write_json(&Val::byte_str("a"), 99),
            Err(JsonWriteError::InvalidText)
        );
        assert_eq!(
            write_json(&Val::utf8_str(&b"\xFF"[..]), 99),
            Err(JsonWriteError::InvalidText)
        );
        let named = [(Val::from(1_usize), Val::Null)].into_iter().collect();
        assert_eq!(
            write_json(&Val::obj(named), 99),
            Err(JsonWriteError::NonStringName)
        );
        let deep = (0..=MAX_DEPTH).fold(Val::Null, |inner, _| [inner].into_iter().collect());
        assert_eq!(write_json(&deep, 999), Err(JsonWriteError::TooDeep));
        let wide = (0..64).fold(Val::Null, |inner, _| {
            [inner.clone(), inner].into_iter().collect()
        });
        assert_eq!(write_json(&wide, 1 << 20), Err(JsonWriteError::TooLarge));
        assert_eq!(
            write_json(&Val::utf8_str("\u{1}\u{1}"), 13),
            Err(JsonWriteError::TooLarge)
        );
        assert_eq!(
            write_json(&Val::utf8_str("\u{1}\u{1}"), 14).as_deref(),
            Ok(r#""\u0001\u0001""#)
        );
    }
}
