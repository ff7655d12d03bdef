//! Challenges of `WWW-Authenticate` (RFC 9110, section 11.6.1).

use http::header::{HeaderMap, WWW_AUTHENTICATE};

/// A challenge: its scheme, and its parameters without quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge<'h> {
    pub(super) scheme: &'h str,
    /// Quoted values have their escapes.
    pub(super) parameters: Vec<(&'h str, &'h str)>,
}

impl Challenge<'_> {
    pub(super) fn is_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        parameters.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(*value))
    }
}

/// Returns the challenges of all `WWW-Authenticate` headers in their order.
pub(super) fn read_challenges(headers: &HeaderMap) -> Vec<Challenge<'_>> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let values = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    values.flat_map(parse_challenges).collect()
}

/// Parses a header. Devices send more spaces, quotes and commas than the syntax permits.
fn parse_challenges(header: &str) -> Vec<Challenge<'_>> {
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = split_value(value.trim_start());
            if let Some(challenge) = challenges.last_mut() {
                challenge.parameters.push((word, value));
            }
            rest = after;
        } else {
            challenges.push(Challenge {
                scheme: word,
                parameters: Vec::new(),
            });
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
}

/// Splits a text behind the value at its start. Returns a quoted value without its quotes, and with its escapes.
fn split_value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.trim_matches('"'), rest);
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    match end {
        Some(end) => (&quoted[..end], &quoted[end + 1..]),
        None => (quoted, ""),
    }
}
