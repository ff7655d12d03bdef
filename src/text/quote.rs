//! Foreign text inside other text: in messages, escaped and cut to a bound, and in JSON strings.

/// `text` with every character that is not printable escaped, cut to at most `max_chars` characters. An ellipsis marks
/// the cut. Quotation marks stay as they are.
///
/// Redact secrets before the call: an escaped or cut secret is not recognised any more.
pub(crate) fn escape_bounded(text: &str, max_chars: usize) -> String {
    let mut escaped = String::new();
    let mut left = max_chars;
    for c in text.chars() {
        let is_quotation_mark = matches!(c, '"' | '\'');
        let width = if is_quotation_mark {
            1
        } else {
            c.escape_debug().len()
        };
        if width > left {
            escaped.push('…');
            break;
        }
        left -= width;
        if is_quotation_mark {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_debug());
        }
    }
    escaped
}

/// `text` in backticks, escaped and cut to 48 characters.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", escape_bounded(text, 48))
}

/// `text` as the content of a JSON string, without its quotation marks.
pub(crate) fn escape_json(text: &str) -> String {
    let string = serde_json::Value::from(text).to_string();
    string[1..string.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let text = "a\"b\n\u{202e}\0ñ";
        assert_eq!(escape_bounded(text, 120), "a\"b\\n\\u{202e}\\0ñ");
        assert_eq!(quote("x\t"), "`x\\t`");
    }

    #[test]
    fn json_content_is_escaped() {
        assert_eq!(escape_json("a\"b\\c\n\u{7}ñ'"), "a\\\"b\\\\c\\n\\u0007ñ'");
    }

    #[test]
    fn long_text_is_cut() {
        let long = escape_bounded(&"\u{7}x".repeat(500), 120);
        assert!(long.chars().count() <= 121 && long.ends_with('…'), "{long}");
        assert_eq!(escape_bounded("abc", 3), "abc");
        assert_eq!(escape_bounded("abcd", 3), "abc…");
    }
}
