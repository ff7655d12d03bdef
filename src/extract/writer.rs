//! The values that filters give → JSON text, strictly and on one line; no number that only passed through has changed.

use std::fmt::Write as _;

use jaq_json::{Map, Num, Val};

use super::depth::MAX_DEPTH;
use super::json::strict;

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
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
    Name,
    /// A string of bytes that are no text.
    #[error("bytes that are no text")]
    Bytes,
}

/// Writes `value` as JSON on one line, in at most `limit` bytes.
pub(super) fn write(value: &Val, limit: usize) -> Result<String, Unwritable> {
    let mut writer = Writer {
        out: String::new(),
        limit,
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    limit: usize,
}

impl Writer {
    fn value(&mut self, value: &Val, depth: usize) -> Result<(), Unwritable> {
        match value {
            Val::Null => self.text("null"),
            Val::Bool(true) => self.text("true"),
            Val::Bool(false) => self.text("false"),
            Val::Num(number) => self.number(number),
            Val::TStr(text) => self.string(text),
            Val::BStr(_) => Err(Unwritable::Bytes),
            Val::Arr(_) | Val::Obj(_) if depth == MAX_DEPTH => Err(Unwritable::TooDeep),
            Val::Arr(items) => self.array(items, depth + 1),
            Val::Obj(members) => self.object(members, depth + 1),
        }
    }

    fn array(&mut self, items: &[Val], depth: usize) -> Result<(), Unwritable> {
        for (position, item) in items.iter().enumerate() {
            self.text(if position == 0 { "[" } else { "," })?;
            self.value(item, depth)?;
        }
        self.text(if items.is_empty() { "[]" } else { "]" })
    }

    fn object(&mut self, members: &Map, depth: usize) -> Result<(), Unwritable> {
        for (position, (name, value)) in members.iter().enumerate() {
            let Val::TStr(name) = name else {
                return Err(Unwritable::Name);
            };
            self.text(if position == 0 { "{" } else { "," })?;
            self.string(name)?;
            self.text(":")?;
            self.value(value, depth)?;
        }
        self.text(if members.is_empty() { "{}" } else { "}" })
    }

    fn number(&mut self, number: &Num) -> Result<(), Unwritable> {
        match number {
            Num::Int(i) => self.text(&i.to_string()),
            Num::BigInt(i) => self.text(&i.to_string()),
            Num::Float(f) => self.float(*f),
            Num::Dec(text) if strict(text).is_ok() => self.text(text),
            Num::Dec(text) => self.float(text.parse().unwrap_or(f64::NAN)),
        }
    }

    /// The shortest text that reads as the same double; whole ones without a fraction.
    fn float(&mut self, f: f64) -> Result<(), Unwritable> {
        if !f.is_finite() {
            return Err(Unwritable::NotFinite);
        }
        let plain = f == 0.0 || (1e-5..1e17).contains(&f.abs());
        self.text(&if plain {
            f.to_string()
        } else {
            format!("{f:e}")
        })
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Unwritable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unwritable::Bytes)?;
        self.text("\"")?;
        let mut rest = text;
        while let Some(at) = rest
            .bytes()
            .position(|b| b < b' ' || matches!(b, b'"' | b'\\' | 0x7F))
        {
            self.text(&rest[..at])?;
            self.escape(rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        self.text(rest)?;
        self.text("\"")
    }

    fn escape(&mut self, byte: u8) -> Result<(), Unwritable> {
        match byte {
            b'"' => self.text("\\\""),
            b'\\' => self.text("\\\\"),
            b'\n' => self.text("\\n"),
            b'\r' => self.text("\\r"),
            b'\t' => self.text("\\t"),
            other => {
                let _ = write!(self.out, "\\u{other:04x}");
                self.text("")
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Unwritable> {
        if self.out.len() + text.len() > self.limit {
            return Err(Unwritable::TooLarge);
        }
        self.out.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_short_and_json() {
        let written = |f: f64| write(&Val::from(f), 400);
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
            assert_eq!(strict(text), Ok(()));
        }
        for f in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(written(f), Err(Unwritable::NotFinite));
        }
    }

    #[test]
    fn what_is_not_json_is_not_written() {
        assert_eq!(write(&Val::byte_str("a"), 99), Err(Unwritable::Bytes));
        assert_eq!(
            write(&Val::utf8_str(&b"\xFF"[..]), 99),
            Err(Unwritable::Bytes)
        );
        let named = [(Val::from(1_usize), Val::Null)].into_iter().collect();
        assert_eq!(write(&Val::obj(named), 99), Err(Unwritable::Name));
        let deep = (0..=MAX_DEPTH).fold(Val::Null, |inner, _| [inner].into_iter().collect());
        assert_eq!(write(&deep, 999), Err(Unwritable::TooDeep));
        let wide = (0..64).fold(Val::Null, |inner, _| {
            [inner.clone(), inner].into_iter().collect()
        });
        assert_eq!(write(&wide, 1 << 20), Err(Unwritable::TooLarge));
        assert_eq!(
            write(&Val::utf8_str("\u{1}\u{1}"), 13),
            Err(Unwritable::TooLarge)
        );
        assert_eq!(
            write(&Val::utf8_str("\u{1}\u{1}"), 14).as_deref(),
            Ok(r#""\u0001\u0001""#)
        );
    }
}
