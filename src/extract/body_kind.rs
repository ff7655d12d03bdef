//! Descriptions of a body that is not JSON: the format that it resembles, or the syntax error.

/// Number of bytes at the start of a body that are inspected.
const MAX_LOOKED_AT_BYTES: usize = 4096;

/// Characters that are invisible or easily mistaken for another one.
const CONFUSING_CHARS: &[(char, &str)] = &[
    ('\u{feff}', "byte order mark"),
    ('\u{a0}', "no-break space"),
    ('\u{85}', "next line"),
    ('\u{ad}', "soft hyphen"),
    ('\u{200b}', "zero width space"),
    ('\u{200c}', "zero width non-joiner"),
    ('\u{200d}', "zero width joiner"),
    ('\u{200e}', "left-to-right mark"),
    ('\u{200f}', "right-to-left mark"),
    ('\u{2028}', "line separator"),
    ('\u{2029}', "paragraph separator"),
    ('\u{202f}', "narrow no-break space"),
    ('\u{2060}', "word joiner"),
    ('\u{3000}', "ideographic space"),
    ('\u{201c}', "left double quotation mark"),
    ('\u{201d}', "right double quotation mark"),
    ('\u{2018}', "left single quotation mark"),
    ('\u{2019}', "right single quotation mark"),
    ('\u{0}', "null character"),
    ('\u{b}', "vertical tab"),
    ('\u{c}', "form feed"),
];

/// Returns the format that a body resembles which is not JSON, with the remedy.
pub(super) fn describe_body(body: &[u8]) -> Option<&'static str> {
    const BINARY: &[(&[&[u8]], &str)] = &[
        (
            &[b"\x1F\x8B"],
            "the body begins like gzip, which its Content-Encoding does not say",
        ),
        (
            &[b"\x28\xB5\x2F\xFD"],
            "the body begins like zstd, which its Content-Encoding does not say",
        ),
        (
            &[b"\x78\x9C", b"\x78\xDA", b"\x78\x01"],
            "the body begins like deflate, which its Content-Encoding does not say",
        ),
        (&[b"PK\x03\x04"], "the body begins like a ZIP archive"),
        (&[b"BZh"], "the body begins like a bzip2 archive"),
        (&[b"\xFD7zXZ"], "the body begins like an xz archive"),
        (&[b"%PDF"], "the body begins like a PDF document"),
        (&[b"\x89PNG"], "the body begins like a PNG image"),
        (&[b"\xFF\xD8\xFF"], "the body begins like a JPEG image"),
        (
            &[b"\xFF\xFE", b"\xFE\xFF"],
            "the body begins like UTF-16, and JSON is UTF-8",
        ),
    ];
    let is_beginning = |magic: &&[u8]| body.starts_with(magic);
    if let Some((_, what)) = BINARY
        .iter()
        .find(|(magics, _)| magics.iter().any(is_beginning))
    {
        return Some(what);
    }
    // ASCII in UTF-16 without a byte order mark: one of the first two bytes is zero.
    if let [a, b, ..] = body
        && (*a == 0) != (*b == 0)
    {
        return Some("the body begins like UTF-16, and JSON is UTF-8");
    }
    let start = &body[..body.len().min(MAX_LOOKED_AT_BYTES)];
    let text = String::from_utf8_lossy(start);
    describe_text(text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}'))
}

/// Returns what a body looks like that is not of the format of this name, and what to do. `None` if it looks like that
/// format, or like nothing known.
pub(super) fn describe_other_format(body: &[u8], format: &str) -> Option<&'static str> {
    let is_bracket = |byte: &u8| matches!(byte, b'{' | b'[');
    if body.trim_ascii_start().first().is_some_and(is_bracket)
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
    {
        return Some("the body is JSON: set format = \"json\"");
    }
    let own_remedy = format!("format = \"{format}\"");
    describe_body(body).filter(|other| !other.contains(&own_remedy))
}

fn describe_text(text: &str) -> Option<&'static str> {
    if text.starts_with('<') {
        // Bounded: lower case copies the text, and the kind shows at its start.
        let head: String = text.chars().take(1024).collect();
        let head = head.to_ascii_lowercase();
        let is_html = [
            "<!doctype html",
            "<html",
            "<head",
            "<body",
            "<title",
            "<div",
            "<p>",
            "<br>",
            "<br />",
            "<h1",
        ]
        .iter()
        .any(|tag| head.starts_with(tag) || (!head.starts_with("<?xml") && head.contains(tag)));
        return Some(if is_html {
            "the body is HTML: a login page or a proxy's error? To take a value from a page set format = \"html\""
        } else {
            "the body is XML: set format = \"xml\""
        });
    }
    let mut lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    let (first, second) = (lines.next()?, lines.next());
    if let Some(what) = describe_wrapped_json(first) {
        return Some(what);
    }
    if first.starts_with("# HELP ") || first.starts_with("# TYPE ") || is_sample(first) {
        return Some("the body is a Prometheus exposition: set format = \"prometheus\"");
    }
    if first.starts_with(['{', '[', '"']) {
        let is_value = |line| serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok();
        let is_lines =
            is_value(first) && second.is_some_and(|line| line.starts_with(['{', '[', '"']));
        return is_lines.then_some("the body is a JSON value on each line: set format = \"jsonl\"");
    }
    let columns = |line: &str, separator| line.matches(separator).count();
    let is_csv = [',', ';', '\t'].into_iter().any(|separator| {
        let count = columns(first, separator);
        count > 0 && second.is_some_and(|line| columns(line, separator) == count)
    });
    if is_csv {
        return Some("the body looks like CSV: set format = \"csv\"");
    }
    // One short line of plain characters. Anything that resembles broken JSON gets the error of its
    // place instead.
    let is_text = second.is_none()
        && !first.contains(['{', '}', '[', ']', '"', '(', '/', '#', '\''])
        && first.starts_with(char::is_alphanumeric)
        && (describe_word(first, "").is_none() || first.matches('.').count() > 1);
    is_text.then_some("the body is text: set format = \"text\"")
}

/// Returns what stands around the JSON of a body with this first line.
fn describe_wrapped_json(first: &str) -> Option<&'static str> {
    if [")]}'", "while(1)", "for(;;)"]
        .iter()
        .any(|guard| first.starts_with(guard))
    {
        return Some(
            "the body is JSON behind a guard against other sites' scripts: set format = \"text\" and \
             extract = 'sub(\"^[^{\\\\[]*\"; \"\") | fromjson'",
        );
    }
    if first.starts_with("data:") || first.starts_with("event:") {
        return Some(
            "the body is an event stream; a source needs an address that answers with one value",
        );
    }
    let (function, behind) = first.trim_start_matches("/**/").split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    let is_call =
        !function.is_empty() && function.chars().all(is_name) && behind.starts_with(['{', '[']);
    is_call.then_some(
        "the body is JSONP, a call of a function around JSON: leave the callback out of the URL",
    )
}

/// Whether a line is `name{label="…"} 1.5`.
fn is_sample(line: &str) -> bool {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let Some(end) = end.filter(|end| *end > 0) else {
        return false;
    };
    let behind = &line[end..];
    let value = match behind
        .strip_prefix('{')
        .map(|labels| labels.rsplit_once('}'))
    {
        Some(Some((_, value))) => value,
        Some(None) => return false,
        None => behind,
    };
    let value = value.trim_start_matches(' ').split(' ').next();
    // `key: 1` is YAML.
    !line.starts_with(|c: char| c.is_ascii_digit())
        && !line[..end].ends_with(':')
        && behind.starts_with([' ', '{'])
        && value.is_some_and(|value| value.parse::<f64>().is_ok())
}

/// Returns the syntax error at `at`, the byte where a JSON parser stopped: its description and its first byte.
pub(super) fn describe_flaw(text: &str, at: usize) -> Option<(String, usize)> {
    // The reader stops in the middle of a word such as `NaN` or `007`; a message needs all of it.
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    let bytes = text.as_bytes();
    // The reader may stop within a character of several bytes.
    let mut start = (0..=at.min(bytes.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))?;
    while start > 0 && is_word(bytes[start - 1]) {
        start -= 1;
    }
    let mut end = start;
    while end < bytes.len() && is_word(bytes[end]) {
        end += 1;
    }
    let word = &text[start..end];
    if let Some(what) = describe_word(word, &text[end..]) {
        return Some((what, start));
    }
    let at = (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))?;
    let c = text[at..].chars().next()?;
    if let Some((_, name)) = CONFUSING_CHARS.iter().find(|(known, _)| *known == c) {
        return Some((
            format!("U+{:04X} ({name}) is not white space of JSON", c as u32),
            at,
        ));
    }
    let before = text[..at].trim_end();
    let what = match c {
        '\'' => "a text in single quotes, JSON has double quotes only",
        '#' => "a comment, which JSON does not have",
        '/' if text[at..].starts_with("//") || text[at..].starts_with("/*") => {
            "a comment, which JSON does not have"
        }
        ']' | '}' if before.ends_with(',') => "a comma before a closing bracket",
        ',' if before.ends_with([',', '[', '{', ':']) => "a comma without a value before it",
        '`' => "a text in backquotes, JSON has double quotes only",
        _ => return None,
    };
    Some((what.to_owned(), at))
}

fn describe_word(word: &str, behind: &str) -> Option<String> {
    let plain = word.trim_start_matches(['+', '-']);
    let lower = plain.to_ascii_lowercase();
    let meant = match lower.as_str() {
        "nan" | "infinity" | "inf" | "undefined" | "none" | "nil" | "n.a." | "na" | "nul" => {
            Some(None)
        }
        "true" | "false" | "null" if word != lower => Some(Some(lower.as_str())),
        "yes" | "on" => Some(Some("true")),
        "no" | "off" => Some(Some("false")),
        _ => None,
    };
    if let Some(meant) = meant {
        let remedy = meant.map(|meant| format!(", which is written {meant}"));
        return Some(format!(
            "{word} is not a JSON value{}",
            remedy.unwrap_or_default()
        ));
    }
    if plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let digits = plain.trim_start_matches('0');
        let why = if word.starts_with('+') {
            "a plus sign before it"
        } else if plain.starts_with('.') || plain.ends_with('.') || plain.contains(".e") {
            "no digit beside its point"
        } else if plain.starts_with("0x") || plain.starts_with("0X") {
            "it is hexadecimal"
        } else if plain.starts_with('0') && digits.starts_with(|c: char| c.is_ascii_digit())
            || plain.starts_with("00")
        {
            "a zero before it"
        } else if plain.contains('_') {
            "an underscore in it"
        } else if plain.matches('.').count() > 1 {
            "more than one point in it"
        } else if plain.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')) {
            "letters in it"
        } else if plain.ends_with(['e', 'E', '+', '-']) {
            "no digit behind its e"
        } else {
            return None;
        };
        // A body may be one word of a megabyte.
        let word: String = word.chars().take(40).collect();
        return Some(format!("{word} is not a JSON number ({why})"));
    }
    if behind.trim_start().starts_with(':') && plain == word {
        let word: String = word.chars().take(40).collect();
        return Some(format!("the name {word} is not in double quotes"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaw_within_a_character_is_described() {
        let text = "\"\u{2029}";
        for at in 0..=text.len() {
            let _ = describe_flaw(text, at);
        }
    }
}
