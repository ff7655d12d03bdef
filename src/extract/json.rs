//! Whether a body is JSON, strictly: UTF-8, at most [`MAX_DEPTH`] levels, one value of RFC 8259 and nothing after it.
//!
//! The filter's own reader takes more than JSON (NaN, comments, bytes), so nothing reaches it that has not passed here.

use serde::de::IgnoredAny;

use super::body_kind::{describe_body, describe_flaw};
use super::error::ExtractError;
use crate::domain::Code;
use crate::text::{MAX_DEPTH, find_excess_depth};

/// Checks that `bytes`, which have no byte order mark, are one JSON value.
pub(super) fn check_json(bytes: &[u8]) -> Result<(), ExtractError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let what = if bytes.is_empty() {
            "the answer has no body"
        } else {
            "the body is nothing but white space"
        };
        return Err(ExtractError::new(Code::EmptyBody, what));
    }
    // Before the parser, which has a limit of its own and would report it as an error of syntax.
    if let Some(at) = find_excess_depth(bytes, MAX_DEPTH) {
        let what = format!(
            "the body nests deeper than {MAX_DEPTH} levels at {}",
            describe_position(bytes, at)
        );
        return Err(ExtractError::new(Code::JsonTooDeep, what));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let flaw = format!(
            "not UTF-8 at {}",
            describe_position(bytes, error.valid_up_to())
        );
        not_json_error(bytes, &flaw)
    })?;
    check_strict(text).map_err(|flaw| not_json_error(bytes, &flaw))
}

/// Whether `text` is one JSON value; else what is wrong with it and where. The depth is not looked at.
pub(super) fn check_strict(text: &str) -> Result<(), String> {
    match find_json_flaw(text) {
        None => Ok(()),
        Some((what, at)) => {
            let position = describe_position(text.as_bytes(), at);
            Err(format!("{what} at {position}"))
        }
    }
}

/// Returns what is wrong with a text that is not one JSON value, and where, in bytes. The depth is not looked at.
pub(super) fn find_json_flaw(text: &str) -> Option<(String, usize)> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let lines = text.split_inclusive('\n');
    let line_start: usize = lines
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let at = (line_start + error.column().saturating_sub(1)).min(text.len());
    if let Some((what, at)) = describe_flaw(text, at) {
        return Some((what + ",", at));
    }
    let mut what = error.to_string();
    // serde_json counts columns in bytes; the place is told in characters below.
    what.truncate(what.find(" at line ").unwrap_or(what.len()));
    if let Some(within) = what.strip_prefix("EOF while parsing ") {
        what = format!("the body ends within {within}");
    }
    Some((what, at))
}

fn not_json_error(bytes: &[u8], flaw: &str) -> ExtractError {
    let flaw = match describe_body(bytes) {
        // The quoted start of a binary body would be unreadable.
        Some(kind) if std::str::from_utf8(bytes).is_err() || bytes.contains(&0) => {
            return ExtractError::new(Code::NotJson, format!("{flaw}; {kind}"));
        }
        Some(kind) => format!("{kind}; {flaw}"),
        None => flaw.to_owned(),
    };
    ExtractError::with_quote(Code::NotJson, format!("{flaw}; the body begins"), bytes)
}

/// `line 3, column 7` of a byte; columns count characters.
pub(super) fn describe_position(bytes: &[u8], at: usize) -> String {
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
    use crate::domain::{Failure, Redactor};

    fn check_failure(body: &[u8]) -> Failure {
        check_json(body)
            .unwrap_err()
            .into_failure(&Redactor::default())
    }

    fn read_corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
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
        let cases = read_corpus("valid");
        assert!(cases.len() >= 10);
        for (name, body) in cases {
            assert!(check_json(&body).is_ok(), "{name}: {:?}", check_json(&body));
        }
    }

    #[test]
    fn invalid_bodies_are_rejected() {
        let cases = read_corpus("invalid");
        assert!(cases.len() >= 30);
        for (name, body) in cases {
            let failure = check_json(&body)
                .expect_err(&name)
                .into_failure(&Redactor::default());
            assert_eq!(failure.code, Code::NotJson, "{name}");
            assert!(
                failure.message.contains("line "),
                "{name}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn json_error_tells_the_position() {
        let message = |body: &str| check_failure(body.as_bytes()).message.to_string();
        assert_eq!(
            message("{\"a\": NaN}"),
            "NaN is not a JSON value, at line 1, column 7; the body begins: {\"a\": NaN}"
        );
        assert_eq!(
            message("[1,\n\"ñandú\" x]"),
            "expected `,` or `]` at line 2, column 9; the body begins: [1,\\n\"ñandú\" x]"
        );
        assert_eq!(
            message("\n <html>"),
            "the body is HTML: a login page or a proxy's error? To take a value from a page set format = \"html\"; \
             expected value at line 2, column 2; the body begins: <html>"
        );
        assert!(message("x(y)").starts_with("expected value at line 1, column 1; "));
        assert_eq!(
            &*check_failure(b"[1,\n \"\xFF\"]").message,
            "not UTF-8 at line 2, column 3; the body begins: [1,\\n \"\u{fffd}\"]"
        );
    }

    /// Bodies that are not JSON, and how the message begins.
    const FLAWS: &[(&[u8], &str)] = &[
        (
            b"{\n \"a\": 1,\n \"b\":nan}",
            "nan is not a JSON value, at line 3, column 6; ",
        ),
        (
            b"[-Infinity]",
            "-Infinity is not a JSON value, at line 1, column 2; ",
        ),
        (b"[None]", "None is not a JSON value, at line 1, column 2; "),
        (
            b"{\"a\":undefined}",
            "undefined is not a JSON value, at line 1, column 6; ",
        ),
        (
            b"[True]",
            "True is not a JSON value, which is written true, at line 1, ",
        ),
        (
            b"[+3]",
            "+3 is not a JSON number (a plus sign before it), at ",
        ),
        (
            b"[07]",
            "07 is not a JSON number (a zero before it), at line 1, column 2; ",
        ),
        (
            b"[.5]",
            ".5 is not a JSON number (no digit beside its point), at ",
        ),
        (
            b"[5.]",
            "5. is not a JSON number (no digit beside its point), at ",
        ),
        (b"[5m]", "5m is not a JSON number (letters in it), at "),
        (
            b"[1_0]",
            "1_0 is not a JSON number (an underscore in it), at ",
        ),
        (
            b"[1,\n]",
            "a comma before a closing bracket, at line 2, column 1; ",
        ),
        (
            b"{\"a\":1,}",
            "a comma before a closing bracket, at line 1, column 8; ",
        ),
        (
            b"{'a':1}",
            "a text in single quotes, JSON has double quotes only, at line 1, column 2; ",
        ),
        (
            b"[1 // x\n]",
            "a comment, which JSON does not have, at line 1, column 4; ",
        ),
        (
            b"{a:1}",
            "the name a is not in double quotes, at line 1, column 2; ",
        ),
        (b"[1,2", "the body ends within a list at line 1, column 4; "),
        (
            b"[1\xC2\xA0]",
            "U+00A0 (no-break space) is not white space of JSON, at line 1, column 3; ",
        ),
        (
            b"[\xEF\xBB\xBF1]",
            "U+FEFF (byte order mark) is not white space of JSON, at line 1, column 2; ",
        ),
        (
            b"<?xml version=\"1.0\"?><a/>",
            "the body is XML: set format = \"xml\"; ",
        ),
        (
            b"<rss><channel/></rss>",
            "the body is XML: set format = \"xml\"; ",
        ),
        (b"<!DOCTYPE html><p>", "the body is HTML: "),
        (
            b"# HELP a b\n# TYPE a gauge\na 1\n",
            "the body is a Prometheus exposition: ",
        ),
        (
            b"up{job=\"a\"} 1\n",
            "the body is a Prometheus exposition: ",
        ),
        (
            b"a;b\n1;2\n",
            "the body looks like CSV: set format = \"csv\"; ",
        ),
        (
            b"{\"a\":1}\n{\"a\":2}\n",
            "the body is a JSON value on each line: set format = \"jsonl\"; ",
        ),
        (
            b"203.0.113.7\n",
            "the body is text: set format = \"text\"; ",
        ),
        (b"callback({})", "the body is JSONP, "),
        (b"/**/a.b({\n\"c\":1});", "the body is JSONP, "),
        (
            b")]}',\n{\"a\":1}",
            "the body is JSON behind a guard against other sites' scripts: ",
        ),
        (
            b"for(;;);[1]",
            "the body is JSON behind a guard against other sites' scripts: ",
        ),
        (b"data: {\"a\":1}\n\n", "the body is an event stream; "),
        (
            b"key: 1\nother: 2\n",
            "the name key is not in double quotes, at line 1, column 1; ",
        ),
        (b"<br />\n<b>Warning</b>: x {}", "the body is HTML: "),
        (b"x(y)", "expected value at line 1, column 1; "),
    ];

    #[test]
    fn flaws_are_told_in_words() {
        for (body, begin) in FLAWS {
            let message = check_failure(body).message.to_string();
            assert!(message.starts_with(begin), "{begin:?}: {message}");
        }
    }

    #[test]
    fn binary_bodies_are_named_and_not_shown() {
        for (body, name) in [
            (&b"\x1F\x8B\x08\x00\x00"[..], "gzip"),
            (b"\x28\xB5\x2F\xFD\x04", "zstd"),
            (b"\xFF\xFE{\x00}\x00", "UTF-16"),
            (b"{\x00}\x00", "UTF-16"),
            (b"\x00{\x00}", "UTF-16"),
            (b"\x89PNG\r\n", "PNG"),
        ] {
            let failure = check_failure(body);
            assert_eq!(failure.code, Code::NotJson);
            assert!(failure.message.contains(name), "{name}: {failure}");
            assert!(!failure.message.contains("\\u{"), "{name}: {failure}");
        }
    }

    #[test]
    fn blank_body_is_empty() {
        for body in ["", " ", "\n\t\r\n "] {
            assert_eq!(
                check_failure(body.as_bytes()).code,
                Code::EmptyBody,
                "{body:?}"
            );
        }
    }

    #[test]
    fn depth_is_checked_first() {
        let failure = check_failure("[".repeat(30_000).as_bytes());
        assert_eq!(failure.code, Code::JsonTooDeep);
        assert_eq!(
            &*failure.message,
            "the body nests deeper than 64 levels at line 1, column 65"
        );
    }

    proptest! {
        #[test]
        fn json_check_agrees_with_serde(body in r#"[\[\]{}",:0-9.eE+\-tfn aulrse\\]{0,12}"#) {
            let judge = serde_json::from_str::<serde_json::Value>(&body);
            let verdict = check_json(body.as_bytes());
            prop_assert_eq!(verdict.is_ok(), judge.is_ok(), "{:?} {:?}", verdict, judge);
        }

        #[test]
        fn json_check_never_panics(body: Vec<u8>) {
            let _ = check_json(&body).map_err(|complaint| complaint.into_failure(&Redactor::default()));
        }
    }
}
