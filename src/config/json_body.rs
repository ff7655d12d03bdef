//! References in a body that is JSON.

use serde::de::IgnoredAny;

use crate::text::end_of_string;

use super::expand::{ReferenceValue, expand_references};

/// Whether `written`, the text of a body in the file, is JSON: with `0` in place of each reference, it is a document.
pub(super) fn is_json_body(written: &str) -> bool {
    fill_references(written).is_some_and(|filled| is_json(&filled))
}

/// Whether a reference of a JSON body stands within a string, where `before` is the text before it.
pub(super) fn has_open_string(before: &str) -> bool {
    let before = fill_references(before).unwrap_or_default();
    let before = before.as_bytes();
    let mut at = 0;
    while at < before.len() {
        if before[at] == b'"' {
            at = end_of_string(before, at + 1);
            if at >= before.len() {
                return true;
            }
        }
        at += 1;
    }
    false
}

/// Whether `text` is a JSON document.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// `written` with `0` in place of each reference. `None` if one is malformed.
fn fill_references(written: &str) -> Option<String> {
    let filled = expand_references(written, |_, _| Ok(ReferenceValue::Text("0".into())));
    filled.ok()?.as_literal().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_json_with_references() {
        for json in [
            r#"{"a": "${A}", "b": [${B:-"}]}"#,
            "${A}",
            r#" ["${file:x"}", 1${C}, "$${x}"]"#,
        ] {
            assert!(is_json_body(json), "{json}");
        }
        for other in [
            "",
            "a=${A}",
            "{ user(id: ${A}) { name } }",
            "{\"a\": ${A",
            "<a/>",
        ] {
            assert!(!is_json_body(other), "{other}");
        }
    }

    #[test]
    fn open_string_is_found() {
        for (before, is_open) in [
            (r#"{"a": ""#, true),
            (r#"{"a": "x\"y "#, true),
            (r#"{"a\\": "#, false),
            (r#"{"a": "${file:x"}"#, true),
            (r#"{"a": "${A}", "b": "#, false),
            ("", false),
        ] {
            assert_eq!(has_open_string(before), is_open, "{before}");
        }
    }
}
