//! The check of data that was read from a store, as strict as the one that a provider's data passes.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::IgnoredAny;

use crate::domain::JsonData;
use crate::text::{MAX_DEPTH, MAX_DIGITS, end_of_string, find_excess_depth, has_long_number};

/// Checks `json`: at most [`MAX_DEPTH`] levels, no number of more than [`MAX_DIGITS`] digits, one value of RFC 8259 on one line, every name once in
/// its object, and neither `null` nor an object of nulls. The error fits after "its data ".
pub(super) fn check_stored_data(json: &str) -> Result<JsonData, String> {
    // Before any parser: the parsers of the data's consumers recurse once per level.
    if find_excess_depth(json.as_bytes(), MAX_DEPTH).is_some() {
        return Err(format!("nests deeper than {MAX_DEPTH} levels"));
    }
    // An event of the stream has one line, and this program never writes such data.
    if json.contains(['\n', '\r']) {
        return Err("spans lines".to_owned());
    }
    // Whole, because a parser of numbers would refuse those beyond the range of a double.
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| format!("is refused: {error}"))?;
    if has_long_number(json.as_bytes()) {
        return Err(format!("has a number of more than {MAX_DIGITS} digits"));
    }
    match inspect_value(json)? {
        Content::Value => Ok(JsonData::from_checked(json)),
        Content::NullsOnly => Err("says nothing but null".to_owned()),
    }
}

/// What a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// `null`, or an object with members that are all `null`.
    NullsOnly,
    Value,
}

/// Looks at the strings of a valid JSON value, without recursion.
fn inspect_value(json: &str) -> Result<Content, String> {
    // The names of each open object; `None` for an open array.
    let mut open: Vec<Option<HashSet<Cow<'_, str>>>> = Vec::new();
    let mut has_value = false;
    let mut at = 0;
    while let Some(byte) = json.as_bytes().get(at) {
        match byte {
            b'{' | b'[' => {
                has_value |= !open.is_empty() || *byte == b'[';
                open.push((*byte == b'{').then(HashSet::new));
            }
            b'}' | b']' => {
                // An object without members is a value; one with nulls only is not.
                let names = open.pop().flatten();
                has_value |= names.is_some_and(|names| names.is_empty());
            }
            b'"' => {
                let end = end_of_string(json.as_bytes(), at + 1);
                let text = json.get(at..=end).unwrap_or_default();
                let text = unescape(text)?;
                let is_name = json[end + 1..].trim_start().starts_with(':');
                at = end;
                match open.last_mut() {
                    Some(Some(names)) if is_name => {
                        if !names.insert(text) {
                            return Err("has a name twice in one object".to_owned());
                        }
                    }
                    _ => has_value = true,
                }
            }
            b' ' | b'\t' | b':' | b',' => {}
            // `null` outside of a string.
            b'n' => at += "ull".len(),
            _ => has_value = true,
        }
        at += 1;
    }
    Ok(if has_value {
        Content::Value
    } else {
        Content::NullsOnly
    })
}

/// Returns the text of a JSON string. A half of a surrogate pair, which this program never writes, is
/// an error.
fn unescape(quoted: &str) -> Result<Cow<'_, str>, String> {
    if quoted.contains('\\') {
        let text = serde_json::from_str::<String>(quoted);
        return text
            .map(Cow::from)
            .map_err(|error| format!("is refused: {error}"));
    }
    Ok(quoted[1..quoted.len() - 1].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_data_passes() {
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        for json in [
            &deep,
            r#"{"usd":0.1000,"big":123456789012345678901234567890,"e":1e400,"t":"ñ \" \u0000"}"#,
            r#"{"a":{"$serde_json::private::Number":"1"},"b":null}"#,
            "-0",
            "[]",
            "{}",
            "false",
            "[null]",
            r#"{"a":{"b":null}}"#,
        ] {
            assert_eq!(check_stored_data(json).unwrap().as_json(), json);
        }
    }

    #[test]
    fn hostile_data_is_refused() {
        let nested = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for (json, reason) in [
            (nested(MAX_DEPTH + 1).as_str(), "nests deeper than 64"),
            (&nested(1_000_000), "nests deeper than 64"),
            (&"{\"a\":".repeat(6_000), "nests deeper than 64"),
            (r#"{"a":1,"b":{"c":1,"c":2}}"#, "a name twice"),
            (r#"{"a":1,"\u0061":2}"#, "a name twice"),
            (
                &format!("[{{\"a\":-{}}}]", "7".repeat(4001)),
                "more than 4000 digits",
            ),
            (&format!("1e{}", "0".repeat(4000)), "more than 4000 digits"),
            ("null", "nothing but null"),
            (r#"{"a":null}"#, "nothing but null"),
            ("[1,\n2]", "spans lines"),
            ("[NaN]", "is refused"),
            ("[Infinity]", "is refused"),
            ("[01]", "is refused"),
            ("[+1]", "is refused"),
            ("[1,]", "is refused"),
            ("1 2", "is refused"),
            (r#""\ud800""#, "is refused"),
            ("\"\u{1}\"", "is refused"),
            ("", "is refused"),
        ] {
            let error = check_stored_data(json).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
