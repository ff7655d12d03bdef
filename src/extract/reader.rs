//! JSON text → the values that filters work on, without a number losing a digit.
//!
//! A number that a machine integer holds exactly becomes one; every other one is carried as its text and is only read
//! as a double when the filter calculates with it.

use bytes::Bytes;
use jaq_json::{Map, Num, Val};

use crate::text::end_of_string;

/// Integers up to here are doubles too, so calculating with them is the same in both.
pub(super) const MAX_EXACT_INTEGER: u64 = 1 << 53;
/// Whole numbers with more digits are carried as text: reading them takes time that grows with their square.
const MAX_INTEGER_DIGITS: usize = 40;

/// Reads `json`, which must have passed [`crate::extract::check`]; of several members of one name the last one counts.
/// Strings share the text's memory. What is no character (half a surrogate pair) becomes U+FFFD.
pub(super) fn read_json(json: &Bytes) -> Val {
    JsonReader { json, position: 0 }.read_value()
}

/// A number's text as a value. The text must be a number of RFC 8259.
pub(super) fn number_value(text: &str) -> Val {
    // `-0` as an integer would lose its sign.
    let whole = !text.contains(['.', 'e', 'E']) && text != "-0";
    let small = || {
        text.parse::<isize>()
            .ok()
            .filter(|i| i.unsigned_abs() as u64 <= MAX_EXACT_INTEGER)
            .map(Num::Int)
    };
    let big = || {
        (text.len() <= MAX_INTEGER_DIGITS)
            .then(|| Num::from_str_radix(text, 10))
            .flatten()
    };
    let exact = if whole { small().or_else(big) } else { None };
    Val::Num(exact.unwrap_or_else(|| Num::Dec(text.to_owned().into())))
}

struct JsonReader<'j> {
    json: &'j Bytes,
    position: usize,
}

impl JsonReader<'_> {
    fn read_value(&mut self) -> Val {
        match self.skip_space() {
            Some(b'{') => self.read_object(),
            Some(b'[') => self.read_array(),
            Some(b'"') => Val::utf8_str(self.read_string()),
            Some(b't') => self.read_literal(4, Val::Bool(true)),
            Some(b'f') => self.read_literal(5, Val::Bool(false)),
            Some(b'n') => self.read_literal(4, Val::Null),
            _ => self.read_number(),
        }
    }

    fn read_object(&mut self) -> Val {
        let mut members = Map::default();
        self.position += 1;
        // The text passed the strict check, so a comma stands only where it may: no error is
        // possible here.
        while let Some(b'"') = self.skip_mark(b',') {
            let name = Val::utf8_str(self.read_string());
            self.skip_mark(b':');
            members.insert(name, self.read_value());
        }
        self.position += 1;
        Val::obj(members)
    }

    fn read_array(&mut self) -> Val {
        let mut items = Vec::new();
        self.position += 1;
        while self.skip_mark(b',').is_some_and(|next| next != b']') {
            items.push(self.read_value());
        }
        self.position += 1;
        items.into_iter().collect()
    }

    fn read_string(&mut self) -> Bytes {
        let start = self.position + 1;
        let end = end_of_string(self.json, start).min(self.json.len());
        self.position = end + 1;
        let raw = self.json.slice(start..end);
        // Without an escape the string is a slice of the body: no copy.
        if raw.contains(&b'\\') {
            unescape_string(&raw).into()
        } else {
            raw
        }
    }

    fn read_literal(&mut self, len: usize, value: Val) -> Val {
        self.position += len;
        value
    }

    fn read_number(&mut self) -> Val {
        let rest = &self.json[self.position..];
        let of_number =
            |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest
            .iter()
            .position(|b| !of_number(b))
            .unwrap_or(rest.len());
        self.position += len.max(1);
        number_value(std::str::from_utf8(&rest[..len]).unwrap_or("0"))
    }

    /// Skips white space and at most one `mark` within it; gives what comes then.
    fn skip_mark(&mut self, mark: u8) -> Option<u8> {
        if self.skip_space() == Some(mark) {
            self.position += 1;
        }
        self.skip_space()
    }

    fn skip_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.json.get(self.position) {
            self.position += 1;
        }
        self.json.get(self.position).copied()
    }
}

/// The text of a string between its quotes, escapes resolved.
fn unescape_string(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(raw.len());
    let mut rest = &*raw;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let kind = after.chars().next().unwrap_or('\\');
        rest = after.get(kind.len_utf8()..).unwrap_or_default();
        out.push(match kind {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => unescape_unicode(&mut rest),
            other => other,
        });
    }
    out.push_str(rest);
    out
}

/// The character of the four digits that `rest` begins with, and of a second escape if the two are a pair.
fn unescape_unicode(rest: &mut &str) -> char {
    let unit = |text: &str| {
        text.get(..4)
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
    };
    let Some(first) = unit(rest) else {
        return char::REPLACEMENT_CHARACTER;
    };
    *rest = &rest[4..];
    let second = rest.strip_prefix("\\u").and_then(unit);
    let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    match pair {
        Some(c) if c.len_utf16() == 2 => {
            *rest = &rest[6..];
            c
        }
        _ => char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json::check_json;
    use super::super::writer::write_json;
    use super::*;

    fn round_trip(json: &str) -> String {
        check_json(json.as_bytes()).unwrap();
        write_json(
            &read_json(&Bytes::copy_from_slice(json.as_bytes())),
            usize::MAX,
        )
        .unwrap()
    }

    #[test]
    fn member_order_is_kept() {
        assert_eq!(
            round_trip(" { \"b\" : [ 1 , 2 ,\t{ } , [ ] ] ,\r\n \"a\" : null } "),
            r#"{"b":[1,2,{},[]],"a":null}"#
        );
        assert_eq!(
            round_trip("[true,false,null,\"\"]"),
            "[true,false,null,\"\"]"
        );
        assert_eq!(round_trip("  7 "), "7");
    }

    #[test]
    fn last_duplicate_name_wins() {
        assert_eq!(
            round_trip(r#"{"a":1,"b":2,"a":3,"\u0061":{"x":0}}"#),
            r#"{"a":{"x":0},"b":2}"#
        );
    }

    #[test]
    fn numbers_keep_their_text() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "0.1000",
            "1e400",
            "-1E+400",
            "1e-400",
            "12345678901234567890",
            "9007199254740993",
            "-9223372036854775808",
            "9223372036854775808",
            "1.0",
            "100",
            "1e2",
            "1E2",
            "0.30000000000000004",
        ] {
            assert_eq!(round_trip(text), text);
        }
        let long = "9".repeat(4_000);
        assert_eq!(round_trip(&long), long);
    }

    #[test]
    fn string_escapes_round_trip() {
        assert_eq!(
            round_trip(r#""\u00f1\/\ud83d\ude00\b\f\u001f\u007f""#),
            r#""ñ/😀\u0008\u000c\u001f\u007f""#
        );
        assert_eq!(round_trip(r#""\"\\\n\r\t""#), r#""\"\\\n\r\t""#);
    }

    #[test]
    fn lone_surrogate_is_replaced() {
        for half in [
            r"\ud800",
            r"\udc00",
            r"\ud800x",
            r"\ud800\n",
            r"\ud800\u0041",
            r"\ud800\ud800",
            r"\udc00\ud800",
        ] {
            let text = round_trip(&format!("\"{half}\""));
            assert!(text.contains('\u{fffd}'), "{half} {text}");
            assert!(
                serde_json::from_str::<String>(&text).is_ok(),
                "{half} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn reader_agrees_with_serde(text in r#"(\[[-0-9]{1,3}\.[0-9]{1,3}(e[0-9])?, "[a"\\u0-9bñ\n ]{0,9}"\])|\{"[ab]":[0-9]{1,30},"[ab]":\[\]\}"#) {
            let Ok(judge) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(()) };
            let written = round_trip(&text);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), judge);
        }

        #[test]
        fn arbitrary_text_round_trips(text: String, number in r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?") {
            let json = serde_json::to_string(&serde_json::json!({ &text: [&text] })).unwrap();
            let written = round_trip(&json);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), serde_json::from_str::<serde_json::Value>(&json).unwrap());
            prop_assert_eq!(round_trip(&number), number);
        }
    }
}
