//! How a secret may look where others have written it: quoted, escaped, encoded. Pure.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What every encoder of a URL's parts leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What `encodeURIComponent` and its like escape.
const LENIENT: &AsciiSet = &COMPONENT.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');

/// What is escaped in a query as it is sent.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');

/// What is escaped in a path as it is sent.
const PATH: &AsciiSet = &QUERY.remove(b'\'').add(b'?').add(b'^').add(b'`').add(b'{').add(b'}');

/// Every form of `secret` that is looked for: as it is; inside a quoted text, and inside one quoted again (a `Debug`
/// field in a JSON line); as writers of JSON and HTML escape it; as a part of a URL. Most secrets look the same in all.
pub(super) fn forms(secret: String) -> Vec<String> {
    let once = quoted(&secret);
    let [short, long] = [false, true].map(|ascii| json(&secret, ascii));
    let mut forms = vec![quoted(&once), once, html(&secret)];
    for set in [COMPONENT, LENIENT, QUERY, PATH] {
        let encoded = utf8_percent_encode(&secret, set).to_string();
        forms.extend([lower(&encoded), encoded.replace("%20", "+"), encoded]);
    }
    forms.extend([quoted(&short), quoted(&long), short, long, secret]);
    forms
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(c.escape_debug()),
            c => quoted.push(c),
        }
    }
    quoted
}

/// As those write JSON who escape `/`, and with `ascii` whatever is not ASCII too.
fn json(text: &str, ascii: bool) -> String {
    let mut json = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' | '/' => json.extend(['\\', c]),
            c if c.is_control() || (ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
            c => json.push(c),
        }
    }
    json
}

fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// With the digits of every escape in lower case.
fn lower(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        let _ = write!(lower, "%{}{rest}", digits.to_ascii_lowercase());
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_secret_has_one_form() {
        let forms = forms("abc-DEF_123.~".into());
        assert!(forms.iter().all(|form| form == "abc-DEF_123.~"), "{forms:?}");
    }

    #[test]
    fn a_strange_secret_is_known_in_what_others_write() {
        let forms = forms("k/\"é' &+{1}\\".into());
        for form in [
            r#"k/\"é' &+{1}\\"#,
            r#"k\/\"é' &+{1}\\"#,
            r#"k\/\"\u00e9' &+{1}\\"#,
            r#"k/\\\"é' &+{1}\\\\"#,
            "k/&quot;é&#39; &amp;+{1}\\",
            "k%2F%22%C3%A9%27%20%26%2B%7B1%7D%5C",
            "k%2f%22%c3%a9%27%20%26%2b%7b1%7d%5c",
            "k%2F%22%C3%A9%27+%26%2B%7B1%7D%5C",
            "k%2F%22%C3%A9'%20%26%2B%7B1%7D%5C",
            "k/%22%C3%A9%27%20&+{1}\\",
            "k/%22%C3%A9'%20&+%7B1%7D\\",
        ] {
            assert!(forms.iter().any(|known| known == form), "{form} is not in {forms:#?}");
        }
    }
}
