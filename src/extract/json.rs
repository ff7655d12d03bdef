//! Whether a body is JSON, strictly: UTF-8, at most [`MAX_DEPTH`] levels, one value of RFC 8259 and nothing after it.
//!
//! The filter's own reader takes more than JSON (NaN, comments, bytes), so nothing reaches it that has not passed here.

use serde::de::IgnoredAny;

use super::complaint::Complaint;
use super::depth::{MAX_DEPTH, too_deep};
use crate::domain::Code;

/// What some writers put before UTF-8 text. RFC 8259 lets readers skip it.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Where in `body` the one JSON value stands, as a range of bytes without a byte order mark.
pub(super) fn check(body: &[u8]) -> Result<std::ops::Range<usize>, Complaint> {
    let start = if body.starts_with(BOM) { BOM.len() } else { 0 };
    let bytes = &body[start..];
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let what = if bytes.is_empty() {
            "the answer has no body"
        } else {
            "the body is nothing but white space"
        };
        return Err(Complaint::new(Code::EmptyBody, what));
    }
    if let Some(at) = too_deep(bytes, MAX_DEPTH) {
        let what = format!(
            "the body nests deeper than {MAX_DEPTH} levels at {}",
            place(bytes, at)
        );
        return Err(Complaint::new(Code::JsonTooDeep, what));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let flaw = format!("not UTF-8 at {}", place(bytes, error.valid_up_to()));
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return Complaint::new(
                Code::NotJson,
                flaw + "; the body begins like UTF-16, and JSON is UTF-8",
            );
        }
        not_json(bytes, &flaw)
    })?;
    strict(text).map_err(|flaw| not_json(bytes, &flaw))?;
    Ok(start..body.len())
}

/// Whether `text` is one JSON value; else what is wrong with it and where. The depth is not looked at.
pub(super) fn strict(text: &str) -> Result<(), String> {
    let Err(error) = serde_json::from_str::<IgnoredAny>(text) else {
        return Ok(());
    };
    let line = text
        .split('\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let column = line
        .bytes()
        .take(error.column())
        .filter(|b| !is_continuation(*b))
        .count()
        .max(1);
    let mut what = error.to_string();
    what.truncate(what.find(" at line ").unwrap_or(what.len()));
    Err(format!(
        "{what} at line {}, column {column}",
        error.line().max(1)
    ))
}

fn not_json(bytes: &[u8], flaw: &str) -> Complaint {
    if bytes.trim_ascii_start().starts_with(b"<") {
        let hint = "body begins with '<': a login page or a proxy's error?";
        return Complaint::quoting(Code::NotJson, format!("{flaw}; {hint} It begins"), bytes);
    }
    Complaint::quoting(Code::NotJson, format!("{flaw}; the body begins"), bytes)
}

/// `line 3, column 7` of a byte; columns count characters.
fn place(bytes: &[u8], at: usize) -> String {
    let before = &bytes[..at];
    let line = before.split(|b| *b == b'\n').count();
    let begin = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |newline| newline + 1);
    let column = before[begin..]
        .iter()
        .filter(|b| !is_continuation(**b))
        .count()
        + 1;
    format!("line {line}, column {column}")
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Failure, Veil};

    fn failure(body: &[u8]) -> Failure {
        check(body).unwrap_err().into_failure(&Veil::default())
    }

    fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/corpus/json")
            .join(folder);
        let read =
            |path: std::path::PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| read(entry.unwrap().path()))
            .collect()
    }

    #[test]
    fn valid_bodies_pass() {
        let cases = corpus("valid");
        assert!(cases.len() >= 10);
        for (name, body) in cases {
            assert!(check(&body).is_ok(), "{name}: {:?}", check(&body));
        }
    }

    #[test]
    fn invalid_bodies_do_not() {
        let cases = corpus("invalid");
        assert!(cases.len() >= 30);
        for (name, body) in cases {
            let failure = check(&body)
                .expect_err(&name)
                .into_failure(&Veil::default());
            assert_eq!(failure.code, Code::NotJson, "{name}");
            assert!(
                failure.message.contains("line "),
                "{name}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn messages_say_where() {
        let message = |body: &str| failure(body.as_bytes()).message.to_string();
        assert_eq!(
            message("{\"a\": NaN}"),
            "expected value at line 1, column 7; the body begins: {\"a\": NaN}"
        );
        assert_eq!(
            message("[1,\n\"ñandú\" x]"),
            "expected `,` or `]` at line 2, column 9; the body begins: [1,\\n\"ñandú\" x]"
        );
        assert_eq!(
            message("\n <html>"),
            "expected value at line 2, column 2; body begins with '<': a login page or a proxy's error? \
             It begins: <html>"
        );
        assert!(message("callback({})").starts_with("expected value at line 1, column 1; "));
        assert_eq!(
            &*failure(b"[1,\n \"\xFF\"]").message,
            "not UTF-8 at line 2, column 3; the body begins: [1,\\n \"\u{fffd}\"]"
        );
    }

    #[test]
    fn nothing_is_an_empty_body() {
        for body in ["", " ", "\n\t\r\n ", "\u{feff}", "\u{feff} \n"] {
            assert_eq!(failure(body.as_bytes()).code, Code::EmptyBody, "{body:?}");
        }
    }

    #[test]
    fn depth_goes_before_syntax() {
        let failure = failure("[".repeat(30_000).as_bytes());
        assert_eq!(failure.code, Code::JsonTooDeep);
        assert_eq!(
            &*failure.message,
            "the body nests deeper than 64 levels at line 1, column 65"
        );
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        assert_eq!(check("\u{feff}1".as_bytes()), Ok(3..4));
        assert_eq!(failure("\u{feff}\u{feff}1".as_bytes()).code, Code::NotJson);
    }

    proptest! {
        #[test]
        fn a_full_parser_agrees(body in r#"[\[\]{}",:0-9.eE+\-tfn aulrse\\]{0,12}"#) {
            let judge = serde_json::from_str::<serde_json::Value>(&body);
            let verdict = check(body.as_bytes());
            prop_assert_eq!(verdict.is_ok(), judge.is_ok(), "{:?} {:?}", verdict, judge);
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = check(&body).map_err(|complaint| complaint.into_failure(&Veil::default()));
        }
    }
}
