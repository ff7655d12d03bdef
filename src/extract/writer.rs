//! The values that filters give → JSON text, strictly and on one line; no number that only passed through has changed.

use std::fmt::Write as _;

use jaq_json::{Map, Num, Val};

use super::json::check_strict;
use crate::text::{MAX_DEPTH, MAX_DIGITS};

/// Integers with more bits have more than [`MAX_DIGITS`] digits, and writing them takes time.
const MAX_INTEGER_BITS: u64 = 13_300;

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonWriteError {
    /// More text than allowed.
    #[error("too much text")]
    TooLarge,
    /// More levels than [`MAX_DEPTH`].
    #[error("more than {MAX_DEPTH} levels")]
    TooDeep,
    /// NaN or an infinity.
    #[error("a number that JSON cannot write (NaN or infinite)")]
    NotFinite,
    /// An object with a name that is no string.
    #[error("an object whose names are not all strings")]
    NonStringName,
    /// A number of more than [`MAX_DIGITS`] digits.
    #[error("a number of more than {MAX_DIGITS} digits; make a text of it with tostring")]
    TooManyDigits,
    /// A string of bytes that are no text.
    #[error("bytes that are no text")]
    InvalidText,
}

/// Writes `value` as JSON on one line, in at most `limit` bytes.
pub(super) fn write_json(value: &Val, limit: usize) -> Result<String, JsonWriteError> {
    let mut writer = JsonWriter {
        out: String::new(),
        limit,
    };
    writer.write_value(value, 0)?;
    Ok(writer.out)
}

/// Writes `value` as jq's `tojson` does: without a limit, NaN as `null`, an infinity as the largest double.
///
/// # Errors
/// An object with a name that is no string.
pub(super) fn write_json_text(value: &Val) -> Result<String, JsonWriteError> {
    let mut out = String::new();
    append_json_text(value, &mut out)?;
    Ok(out)
}

fn append_json_text(value: &Val, out: &mut String) -> Result<(), JsonWriteError> {
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Val::Num(Num::Float(number)) => out.push_str(&number_text(*number)),
        Val::Num(number) => out.push_str(&number.to_string()),
        Val::TStr(bytes) | Val::BStr(bytes) => append_json_string(bytes, out),
        Val::Arr(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                append_json_text(item, out)?;
            }
            out.push(']');
        }
        Val::Obj(members) => {
            out.push('{');
            for (position, (name, value)) in members.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                let Val::TStr(name) = name else {
                    return Err(JsonWriteError::NonStringName);
                };
                append_json_string(name, out);
                out.push(':');
                append_json_text(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn append_json_string(bytes: &[u8], out: &mut String) {
    let text = String::from_utf8_lossy(bytes);
    let mut writer = JsonWriter {
        out: std::mem::take(out),
        limit: usize::MAX,
    };
    // Text of UTF-8 without a limit is always writable.
    let _ = writer.write_string(text.as_bytes());
    *out = writer.out;
}

/// Writes a double as jq does: 17 digits at most, an exponent of two digits and a sign at least, from 1e17 on and below
/// 1e-5.
fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "null".to_owned();
    }
    let number = number.clamp(f64::MIN, f64::MAX);
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: i32 = mantissa
        .bytes()
        .map(|byte| i32::from(byte.is_ascii_digit()))
        .sum();
    if number == 0.0 || (-5 < exponent && exponent < digits + 15) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
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
            Num::BigInt(i) if i.bits() > MAX_INTEGER_BITS => Err(JsonWriteError::TooManyDigits),
            Num::BigInt(i) => self.write_digits(&i.to_string()),
            Num::Float(f) => self.write_float(*f),
            // jaq's own literals such as `1.` are no JSON.
            Num::Dec(text) if check_strict(text).is_ok() => self.write_digits(text),
            Num::Dec(text) => self.write_float(text.parse().unwrap_or(f64::NAN)),
        }
    }

    fn write_digits(&mut self, text: &str) -> Result<(), JsonWriteError> {
        let digits = || text.bytes().filter(u8::is_ascii_digit).count();
        // The length bounds the digits from above, so the count is rarely needed.
        if text.len() > MAX_DIGITS && digits() > MAX_DIGITS {
            return Err(JsonWriteError::TooManyDigits);
        }
        self.write_text(text)
    }

    /// The shortest text that reads as the same double; whole ones without a fraction.
    fn write_float(&mut self, f: f64) -> Result<(), JsonWriteError> {
        if !f.is_finite() {
            return Err(JsonWriteError::NotFinite);
        }
        let plain = f == 0.0 || (1e-5..1e17).contains(&f.abs());
        self.write_text(&if plain {
            f.to_string()
        } else {
            format!("{f:e}")
        })
    }

    fn write_string(&mut self, bytes: &[u8]) -> Result<(), JsonWriteError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonWriteError::InvalidText)?;
        self.write_text("\"")?;
        let mut rest = text;
        while let Some(at) = rest
            .bytes()
            // Bytes suffice: no byte of a longer UTF-8 character is below 0x80.
            .position(|b| b < b' ' || matches!(b, b'"' | b'\\' | 0x7F))
        {
            self.write_text(&rest[..at])?;
            self.write_escape(rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
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
                let _ = write!(self.out, "\\u{other:04x}");
                self.write_text("")
            }
        }
    }

    fn write_text(&mut self, text: &str) -> Result<(), JsonWriteError> {
        // Before the copy: a filter may give a text of any length.
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
