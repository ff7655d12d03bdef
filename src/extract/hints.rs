//! What to write instead of a path of another tool: keys without quotation marks, `JSONPath`, templates.

use std::ops::Range;

use super::filter_error::FilterError;

/// Returns the error of a text that begins like `JSONPath` or like a template: neither is ever a filter.
pub(super) fn foreign_syntax_error(text: &str) -> Option<FilterError> {
    let start = text.len() - text.trim_start().len();
    let begins = &text[start..];
    if begins.starts_with("$.") || begins.starts_with("$[") || begins.trim() == "$" {
        let path = path_prefix(begins);
        let end = path.len();
        let jq = convert_path(&path[1..]).map(|jq| format!("; in jq it is `{jq}`"));
        return Some(FilterError {
            message: format!("this is JSONPath{}", jq.unwrap_or_default()),
            span: start..start + end,
        });
    }
    // `{ .a.b }`, as in a module of json_exporter. No key of an object begins so.
    let braced = begins.trim_end().strip_prefix('{');
    let braced = braced
        .and_then(|text| text.strip_suffix('}'))
        .map(str::trim);
    if let Some(path) = braced.filter(|path| path.starts_with(['.', '['])) {
        let jq = convert_path(path).map(|jq| format!("; in jq it is `{jq}`"));
        return Some(FilterError {
            message: format!("this is JSONPath{}", jq.unwrap_or_default()),
            span: start..text.trim_end().len(),
        });
    }
    let inner = begins.strip_prefix("{{")?;
    let (expression, end) = match inner.find("}}") {
        Some(end) => (&inner[..end], start + end + 4),
        None => (inner, text.len()),
    };
    let jq = convert_template(expression).map(|jq| format!("; in jq it is `{jq}`"));
    Some(FilterError {
        message: format!("this is a template{}", jq.unwrap_or_default()),
        span: start..end,
    })
}

/// Returns the error of a key that must stand in quotation marks (`.disk-space`, `.24h`) or of an array's element
/// (`.items.0`), if the word around `at` has one.
pub(super) fn key_error(text: &str, at: usize) -> Option<FilterError> {
    let word = word_around(text, at);
    let path = &text[word.clone()];
    let is_number = path.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    // `1.5` and `"a-b"` are right as they are; a wrong hint is worse than none.
    if is_number || is_in_string(text, word.start) {
        return None;
    }
    let mut position = word.start;
    for (number, key) in path.split('.').enumerate() {
        let span = position.saturating_sub(1)..position + key.len();
        position += key.len() + 1;
        // The first part is no key, but in `{disk-space}`.
        let is_shorthand = number == 0 && text[..word.start].trim_end().ends_with(['{', ',']);
        if key.is_empty() || is_plain_key(key) || (number == 0 && !is_shorthand) {
            continue;
        }
        if is_shorthand {
            let span = word.start..word.start + key.len();
            let message = format!("a key with a dash is written `\"{key}\"`");
            return Some(FilterError { message, span });
        }
        let message = if key.bytes().all(|byte| byte.is_ascii_digit()) {
            let whole = convert_path(path).unwrap_or_else(|| format!("[{key}]"));
            format!("an element of an array is written with brackets: `{whole}`")
        } else if key.starts_with(|c: char| c.is_ascii_digit()) {
            format!("a key that begins with a digit is written `.\"{key}\"`")
        } else {
            let what = if key.contains('-') {
                "dash"
            } else {
                "letter beyond a to z"
            };
            format!("a key with a {what} is written `.\"{key}\"`")
        };
        return Some(FilterError { message, span });
    }
    None
}

/// Functions, values and operators of other languages, with what jq has instead.
const FOREIGN_WORDS: &[(&[&str], &str)] = &[
    (&["int", "integer", "toint"], "tonumber | trunc"),
    (&["float", "number", "to_number"], "tonumber"),
    (&["str", "string", "to_string"], "tostring"),
    (&["upper", "uppercase", "toupper"], "ascii_upcase"),
    (&["lower", "lowercase", "tolower"], "ascii_downcase"),
    (&["len", "size", "count"], "length"),
    (&["filter", "where"], "map(select(…))"),
    (&["replace"], "gsub(\"old\"; \"new\")"),
    (&["regex", "matches"], "test(\"…\")"),
    (&["substring", "substr", "slice"], ".[0:3]"),
    (&["sum"], "add"),
    (&["avg", "mean", "average"], "add / length"),
    (&["None", "nil", "undefined", "Null", "NULL"], "null"),
    (&["True", "TRUE"], "true"),
    (&["False", "FALSE"], "false"),
    (&["NaN"], "nan"),
    (&["&&", "&"], "and"),
    (&["||"], "or"),
];

/// Returns the end of a message about `word` that tells what jq has instead; an empty text if it is not known.
pub(super) fn instead_of(word: &str) -> String {
    let known = FOREIGN_WORDS
        .iter()
        .find(|(words, _)| words.contains(&word));
    known
        .map(|(_, jq)| format!("; in jq it is `{jq}`"))
        .unwrap_or_default()
}

/// Returns the path that is meant by a text at `span` that is no function: `data.amount` → `.data.amount`.
pub(super) fn meant_path(text: &str, span: &Range<usize>) -> Option<String> {
    let path = path_prefix(&text[span.start..]);
    convert_path(path.strip_prefix("value_json").unwrap_or(path))
}

/// Returns the start of `text` that is a path: keys, points, dashes, and brackets with all that they hold.
fn path_prefix(text: &str) -> &str {
    let mut end = 0;
    while let Some(c) = text[end..].chars().next() {
        if c == '[' {
            let Some(length) = text[end..].find(']') else {
                break;
            };
            end += length + 1;
        } else if c.is_alphanumeric() || "$_-.*\"'".contains(c) {
            end += c.len_utf8();
        } else {
            break;
        }
    }
    text[..end].trim_end_matches('.')
}

/// Whether `text` goes on as a path behind `span`.
pub(super) fn is_path_start(text: &str, span: &Range<usize>) -> bool {
    let (before, behind) = (&text[..span.start], &text[span.end..]);
    let goes_on = behind.starts_with('[')
        || behind.strip_prefix('.').is_some_and(|key| {
            key.starts_with(|c: char| c.is_alphanumeric() || "_\"[".contains(c))
        });
    goes_on && !before.ends_with(['.', '$', '@'])
}

/// Converts a path of `JSONPath`, of a template or of dotted keys.
fn convert_path(path: &str) -> Option<String> {
    let mut jq = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, behind) = inner.split_once(']')?;
            let key = index.trim_matches(['"', '\'']);
            match index.trim() {
                "*" => jq.push_str(if jq.is_empty() { ".[]" } else { "[]" }),
                _ if key != index => push_key(&mut jq, key),
                number if number.parse::<i64>().is_ok() => {
                    jq.push_str(if jq.is_empty() { "." } else { "" });
                    jq.extend(["[", number, "]"]);
                }
                _ => return None,
            }
            rest = behind;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let key = rest[..end].trim_matches('"');
        match key {
            "*" => jq.push_str(if jq.is_empty() { ".[]" } else { "[]" }),
            "" => return None,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                jq.push_str(if jq.is_empty() { "." } else { "" });
                jq.extend(["[", number, "]"]);
            }
            key => push_key(&mut jq, key),
        }
        rest = &rest[end..];
    }
    Some(if jq.is_empty() { ".".to_owned() } else { jq })
}

fn push_key(jq: &mut String, key: &str) {
    jq.push('.');
    if is_plain_key(key) {
        jq.push_str(key);
    } else {
        jq.extend(["\"", &key.replace('\\', "\\\\").replace('"', "\\\""), "\""]);
    }
}

/// Converts `value_json.a | float` and `.a`.
fn convert_template(expression: &str) -> Option<String> {
    let mut parts = expression.split('|').map(str::trim);
    let path = parts.next()?.trim_matches('-').trim();
    let path = path.strip_prefix("value_json").unwrap_or(path);
    let mut jq = convert_path(path)?;
    for part in parts {
        jq.push_str(match part.split('(').next()? {
            "float" => " | tonumber",
            "int" => " | tonumber | floor",
            "round" => " | round",
            "length" | "count" => " | length",
            "lower" => " | ascii_downcase",
            "upper" => " | ascii_upcase",
            _ => return None,
        });
    }
    Some(jq)
}

fn is_plain_key(key: &str) -> bool {
    !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns where the run of characters of keys, points and dashes around `at` stands.
fn word_around(text: &str, at: usize) -> Range<usize> {
    let is_word = |c: &char| c.is_alphanumeric() || "_.-".contains(*c);
    let before: usize = text[..at]
        .chars()
        .rev()
        .take_while(is_word)
        .map(char::len_utf8)
        .sum();
    let behind: usize = text[at..]
        .chars()
        .take_while(is_word)
        .map(char::len_utf8)
        .sum();
    at - before..at + behind
}

/// Whether an odd number of quotation marks stands before `at`.
fn is_in_string(text: &str, at: usize) -> bool {
    let before = &text[..at];
    let marks = before.matches('"').count() - before.matches("\\\"").count();
    marks % 2 == 1
}
