//! JSON text → the values that filters work on, without a number losing a digit.
//!
//! A number that a machine integer holds exactly becomes one; every other one is carried as its text and is only read
//! as a double when somebody calculates with it.

use bytes::Bytes;
use jaq_json::{Map, Num, Val};

use super::depth::end_of_string;

/// Integers up to here are doubles too, so calculating with them is the same in both.
pub(super) const MAX_EXACT: u64 = 1 << 53;
/// Whole numbers with more digits are carried as text: reading them takes time that grows with their square.
const MAX_WHOLE: usize = 40;

/// Reads `json`, which must have passed [`super::json::check`]; of several members of one name the last one counts.
/// Strings share the text's memory. What is no character (half a surrogate pair) becomes U+FFFD.
pub(super) fn read(json: &Bytes) -> Val {
    Reader { json, at: 0 }.value()
}

/// A number's text as a value. The text must be a number of RFC 8259.
pub(super) fn number(text: &str) -> Val {
    let whole = !text.contains(['.', 'e', 'E']) && text != "-0";
    let small = || {
        text.parse::<isize>()
            .ok()
            .filter(|i| i.unsigned_abs() as u64 <= MAX_EXACT)
            .map(Num::Int)
    };
    let big = || {
        (text.len() <= MAX_WHOLE)
            .then(|| Num::from_str_radix(text, 10))
            .flatten()
    };
    let exact = if whole { small().or_else(big) } else { None };
    Val::Num(exact.unwrap_or_else(|| Num::Dec(text.to_owned().into())))
}

struct Reader<'j> {
    json: &'j Bytes,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Val {
        match self.skip_space() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => Val::utf8_str(self.string()),
            Some(b't') => self.literal(4, Val::Bool(true)),
            Some(b'f') => self.literal(5, Val::Bool(false)),
            Some(b'n') => self.literal(4, Val::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Val {
        let mut members = Map::default();
        self.at += 1;
        while let Some(b'"') = self.skip(b',') {
            let name = Val::utf8_str(self.string());
            self.skip(b':');
            members.insert(name, self.value());
        }
        self.at += 1;
        Val::obj(members)
    }

    fn array(&mut self) -> Val {
        let mut items = Vec::new();
        self.at += 1;
        while self.skip(b',').is_some_and(|next| next != b']') {
            items.push(self.value());
        }
        self.at += 1;
        items.into_iter().collect()
    }

    fn string(&mut self) -> Bytes {
        let start = self.at + 1;
        let end = end_of_string(self.json, start).min(self.json.len());
        self.at = end + 1;
        let raw = self.json.slice(start..end);
        if raw.contains(&b'\\') {
            unescaped(&raw).into()
        } else {
            raw
        }
    }

    fn literal(&mut self, len: usize, value: Val) -> Val {
        self.at += len;
        value
    }

    fn number(&mut self) -> Val {
        let rest = &self.json[self.at..];
        let of_number =
            |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest
            .iter()
            .position(|b| !of_number(b))
            .unwrap_or(rest.len());
        self.at += len.max(1);
        number(std::str::from_utf8(&rest[..len]).unwrap_or("0"))
    }

    /// Skips white space and at most one `mark` within it; gives what comes then.
    fn skip(&mut self, mark: u8) -> Option<u8> {
        if self.skip_space() == Some(mark) {
            self.at += 1;
        }
        self.skip_space()
    }

    fn skip_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.json.get(self.at) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }
}

/// The text of a string between its quotes, escapes resolved.
fn unescaped(raw: &[u8]) -> String {
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
            'u' => unicode(&mut rest),
            other => other,
        });
    }
    out.push_str(rest);
    out
}

/// The character of the four digits that `rest` begins with, and of a second escape if the two are a pair.
fn unicode(rest: &mut &str) -> char {
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

    use super::*;
    use crate::extract::json::check;
    use crate::extract::writer::write;

    fn again(json: &str) -> String {
        check(json.as_bytes()).unwrap();
        write(&read(&Bytes::copy_from_slice(json.as_bytes())), usize::MAX).unwrap()
    }

    #[test]
    fn white_space_goes_and_order_stays() {
        assert_eq!(
            again(" { \"b\" : [ 1 , 2 ,\t{ } , [ ] ] ,\r\n \"a\" : null } "),
            r#"{"b":[1,2,{},[]],"a":null}"#
        );
        assert_eq!(again("[true,false,null,\"\"]"), "[true,false,null,\"\"]");
        assert_eq!(again("  7 "), "7");
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(
            again(r#"{"a":1,"b":2,"a":3,"\u0061":{"x":0}}"#),
            r#"{"a":{"x":0},"b":2}"#
        );
    }

    #[test]
    fn every_number_keeps_its_text() {
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
            assert_eq!(again(text), text);
        }
        let long = "9".repeat(100_000);
        assert_eq!(again(&long), long);
    }

    #[test]
    fn strings_stay_what_they_mean() {
        assert_eq!(
            again(r#""\u00f1\/\ud83d\ude00\b\f\u001f\u007f""#),
            r#""ñ/😀\u0008\u000c\u001f\u007f""#
        );
        assert_eq!(again(r#""\"\\\n\r\t""#), r#""\"\\\n\r\t""#);
    }

    #[test]
    fn half_a_pair_is_replaced() {
        for half in [
            r"\ud800",
            r"\udc00",
            r"\ud800x",
            r"\ud800\n",
            r"\ud800\u0041",
            r"\ud800\ud800",
            r"\udc00\ud800",
        ] {
            let text = again(&format!("\"{half}\""));
            assert!(text.contains('\u{fffd}'), "{half} {text}");
            assert!(
                serde_json::from_str::<String>(&text).is_ok(),
                "{half} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_full_parser_reads_the_same(text in r#"(\[[-0-9]{1,3}\.[0-9]{1,3}(e[0-9])?, "[a"\\u0-9bñ\n ]{0,9}"\])|\{"[ab]":[0-9]{1,30},"[ab]":\[\]\}"#) {
            let Ok(judge) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(()) };
            let written = again(&text);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), judge);
        }

        #[test]
        fn any_text_survives(text: String, number in r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?") {
            let json = serde_json::to_string(&serde_json::json!({ &text: [&text] })).unwrap();
            let written = again(&json);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), serde_json::from_str::<serde_json::Value>(&json).unwrap());
            prop_assert_eq!(again(&number), number);
        }
    }
}
