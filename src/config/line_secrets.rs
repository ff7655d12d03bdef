//! The values in a line of the file that look like secrets, for the quotation of the line in a problem.
//!
//! The values of keys that were read are known secrets. This finds what was never read, since the key is misspelt, the
//! type is wrong, or the line is no TOML, and what is too short to be masked everywhere.

use crate::domain::SecretSet;
use crate::text::find_nearest;

use super::secrets::names_credential;
use super::span::Span;

/// Words whose misspellings name a credential, too.
const MISSPELT_WORDS: [&str; 7] = [
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
];

/// The byte ranges in `line`: the values of keys that name a credential, and of every URL its userinfo and the values
/// of its query.
pub(super) fn line_secrets(line: &str) -> Vec<Span> {
    let mut spans = url_parts(line);
    let mut at = 0;
    while let Some(found) = line[at..].find(['"', '\'', '=', '#']) {
        let start = at + found;
        at = match line.as_bytes()[start] {
            b'#' => break,
            b'=' => {
                let (key, value) = (key_before(&line[..start]), skip_blanks(line, start + 1));
                if is_credential_key(key) {
                    spans.push(value..value_end(line, value));
                    value_end(line, value)
                } else if key == "body" {
                    let end = value_end(line, value);
                    spans.extend(body_parts(line, value..end));
                    end
                } else {
                    start + 1
                }
            }
            // A string that is no such value.
            _ => string_end(line, start),
        };
    }
    // The quotation marks stay: they show what the value is.
    let values = spans.into_iter().map(|span| unquoted(line, span));
    values
        .flat_map(|value| literal_parts(line, value))
        .collect()
}

/// The parts of a value that are no references, which are no secrets: whoever mends the line has to see them. Beside a
/// reference, a short part is a word such as `Bearer`.
fn literal_parts(line: &str, value: Span) -> Vec<Span> {
    if !line[value.clone()].contains("${") {
        return vec![value];
    }
    let mut parts = Vec::new();
    let mut start = value.start;
    while let Some(length) = line[start..value.end].find("${") {
        parts.push(start..start + length);
        let reference = &line[start + length..value.end];
        start = value.end - reference.split_once('}').map_or(0, |(_, rest)| rest.len());
    }
    parts.push(start..value.end);
    parts.retain(|part| part.len() >= SecretSet::MIN_CHARS);
    parts
}

/// Whether the value of this key is a credential. The names of files and of logins are none.
fn is_credential_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if key == "auth" || key.ends_with("_file") {
        return false;
    }
    let mut words = key.split(|c: char| !c.is_ascii_alphanumeric());
    names_credential(&key)
        || words.any(|word| word.len() > 3 && find_nearest(word, MISSPELT_WORDS).is_some())
}

/// The last part of the key at the end of `text`.
fn key_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'', '\\']);
    let mut parts = text.rsplit(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    parts.next().unwrap_or_default()
}

fn skip_blanks(line: &str, at: usize) -> usize {
    line.len() - line[at..].trim_start_matches([' ', '\t']).len()
}

/// The end of the value that starts at `at`: of a string, a list or a table, or of a word.
fn value_end(line: &str, at: usize) -> usize {
    match line.as_bytes().get(at) {
        Some(b'"' | b'\'') => string_end(line, at),
        // All to the end of the line: what follows a list of secrets is seldom of use.
        Some(b'[' | b'{') => line.trim_end().len(),
        _ => {
            let end = line[at..].find([' ', '\t', ',', '}', ']', '#']);
            end.map_or(line.len(), |end| at + end)
        }
    }
}

/// The end of the string whose quotation mark is at `at`, its closing mark included.
fn string_end(line: &str, at: usize) -> usize {
    let quote = line.as_bytes()[at];
    let mark = &line[at..=at];
    let triple = mark.repeat(3);
    let mark = if line[at..].starts_with(&triple) {
        &triple
    } else {
        mark
    };
    let mut from = at + mark.len();
    loop {
        let Some(found) = line[from..].find(mark) else {
            return line.len();
        };
        let end = from + found;
        let escapes = line[..end]
            .bytes()
            .rev()
            .take_while(|byte| *byte == b'\\')
            .count();
        if quote == b'\'' || escapes % 2 == 0 {
            return end + mark.len();
        }
        from = end + 1;
    }
}

/// The values of credentials in a body: in JSON behind a colon, in a form behind an equals sign.
fn body_parts(line: &str, body: Span) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = body.start;
    while let Some(found) = line[at..body.end].find([':', '=']) {
        let separator = at + found;
        at = separator + 1;
        if !is_credential_key(key_before(&line[body.start..separator])) {
            continue;
        }
        let value = skip_blanks(line, at);
        let quoted = line[value..body.end].trim_start_matches('\\');
        let (start, marks): (usize, &[char]) = if quoted.starts_with('"') {
            (line[..body.end].len() - quoted.len() + 1, &['"', '\\'])
        } else {
            (value, &['&', ',', '}', ' ', '"', '\''])
        };
        let start = start.min(body.end);
        let end = line[start..body.end].find(marks);
        let end = end.map_or(body.end, |end| start + end);
        spans.push(start..end);
        at = end;
    }
    spans
}

/// Of each URL, the userinfo and the values of the query.
fn url_parts(line: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for (scheme, separator) in line.match_indices("://") {
        let start = scheme + separator.len();
        let length = line[start..].find(['"', '\'', ' ', '\t', '`', '<', '>']);
        let url = &line[start..length.map_or(line.len(), |length| start + length)];
        let (before, query) = url.split_once('?').unwrap_or((url, ""));
        let authority = before.split('/').next().unwrap_or_default();
        if let Some(at) = authority.rfind('@') {
            spans.push(start..start + at);
        }
        let mut value_start = start + before.len() + 1;
        for pair in query.split(['&', ';', '#']) {
            let end = value_start + pair.len();
            let named = pair.find('=').map_or(0, |at| at + 1);
            if value_start + named < end {
                spans.push(value_start + named..end);
            }
            value_start = end + 1;
        }
    }
    spans
}

/// `span` without the quotation marks around it.
fn unquoted(line: &str, span: Span) -> Span {
    let text = &line[span.clone()];
    for mark in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(rest) = text.strip_prefix(mark) {
            let inner = rest.strip_suffix(mark).unwrap_or(rest);
            let start = span.start + mark.len();
            return start..start + inner.len();
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line with what is found in brackets.
    fn marked(line: &str) -> String {
        let mut spans = line_secrets(line);
        spans.sort_by_key(|span| span.start);
        let mut shown = line.to_owned();
        for span in spans.into_iter().rev() {
            shown.insert(span.end, '>');
            shown.insert(span.start, '<');
        }
        shown
    }

    #[test]
    fn credential_values_are_found() {
        let lines = [
            r#"password = "<short>""#,
            r#"passwrod="<hunter2>" # note"#,
            "token = <12345678>",
            r"'X-Api-Key' = '<hunter2>', x = 'y'",
            r#"password = <["hunter2", "b"]>"#,
            r#"headers = { Authorization = "<Bearer a\"b>", Accept = "text/html" }"#,
            r#"a.b.secret = """<unclosed>"#,
            r#"secret = "<unclosed>"#,
            r#"password = "${VAR}<-suffix-x>${B}", x = 1"#,
            r#"body = '{"user":"me","password":"<hunter2>","n":1}'"#,
            r#"body = "{\"password\": \"<hunter2>\"}""#,
            r#"body = "grant_type=x&client_secret=<hunter2>&a=b""#,
            r#"url = "https://<me:pw>@h.example/p?key=<abc>&k2=<d>#<f>""#,
            "url = https://<me@p>@h/",
        ];
        for line in lines {
            let plain: String = line.chars().filter(|c| !"<>".contains(*c)).collect();
            assert_eq!(marked(&plain), line);
        }
    }

    #[test]
    fn other_values_stay() {
        let lines = [
            r#"timeuot = "15 seconds""#,
            r#"auth = "bank""#,
            r#"key_file = "/run/key.pem", token_file = "t""#,
            r#"extract = '{token: .token, x: (.key == "a")}'"#,
            r#"url = "https://h.example/p?key=${KEY}""#,
            "interval = '5s' # password = 5",
            "== = \" 'é",
            "¡ = 1",
            "",
        ];
        for line in lines {
            assert_eq!(marked(line), line);
        }
    }
}
