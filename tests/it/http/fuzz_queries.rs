//! Query parameters and paths of single values as the oracle parses them.

use serde_json::Value;

use super::fuzz_oracle::ExpectedProblem;
use super::fuzz_parser::ParsedRequestHead;

pub const KNOWN_SOURCES: [&str; 3] = ["btc", "clima", "usd"];

/// The data of every source.
pub const SOURCE_DATA: &str = r#"{"usd":97123.45,"list":[1,2,3,4,5,6,7,8,9,10]}"#;

/// A query without problems.
#[derive(Default)]
pub struct ParsedQuery {
    pub is_live: bool,
    pub sources: Option<Vec<String>>,
}

/// Parses the query of a route with these parameters.
pub fn parse_query(
    head: &ParsedRequestHead,
    parameters: &[&str],
) -> Result<ParsedQuery, ExpectedProblem> {
    let invalid = Err((400, "invalid_parameter"));
    let query = head.uri.query().unwrap_or_default();
    let mut seen: Vec<String> = Vec::new();
    let mut parsed = ParsedQuery::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(name).unwrap_or_else(|| name.to_owned());
        if name.starts_with('_') {
            continue;
        }
        if !parameters.contains(&&*name) {
            return Err((400, "unknown_parameter"));
        }
        if seen.contains(&name) {
            return invalid;
        }
        let Some(value) = percent_decode(value) else {
            return invalid;
        };
        match (&*name, &*value) {
            ("fresh", "1" | "true") => parsed.is_live = true,
            ("fresh", "0" | "false")
            | ("format", "json" | "flat")
            | ("event", "resumen" | "message") => {}
            ("max_age", value) if is_seconds(value) => parsed.is_live = true,
            ("timeout", value)
                if is_seconds(value) && (1e-9..=30.0).contains(&value.parse::<f64>().unwrap()) => {}
            ("sources", value) => parsed.sources = Some(parse_source_names(value)?),
            _ => return invalid,
        }
        seen.push(name);
    }
    let both = ["fresh", "max_age"]
        .iter()
        .all(|name| seen.iter().any(|known| known == name));
    if both { invalid } else { Ok(parsed) }
}

fn parse_source_names(value: &str) -> Result<Vec<String>, ExpectedProblem> {
    let mut names: Vec<String> = Vec::new();
    for name in value.split(',') {
        if name.is_empty() || names.iter().any(|known| known == name) {
            return Err((400, "invalid_parameter"));
        }
        if !KNOWN_SOURCES.contains(&name) {
            return Err((400, "unknown_source"));
        }
        names.push(name.into());
    }
    Ok(names)
}

/// `[0-9]{1,9}(\.[0-9]{1,9})?`
fn is_seconds(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    let is_number =
        |part: &&str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() <= 2 && parts.iter().all(is_number)
}

/// The keys after the source in a path, given without `/valor/`.
pub fn parse_value_path(rest: &str) -> Result<Vec<String>, ExpectedProblem> {
    let mut segments = rest.split('/');
    let source = segments.next().and_then(percent_decode);
    if !source.is_some_and(|source| KNOWN_SOURCES.contains(&&*source)) {
        return Err((404, "unknown_source"));
    }
    let keys = segments.map(|segment| percent_decode(segment).filter(|key| !key.is_empty()));
    keys.collect::<Option<_>>().ok_or((404, "unknown_path"))
}

/// Checks that the data has a value at this path.
pub fn find_value(path: &[String]) -> Result<(), ExpectedProblem> {
    let mut value: Value = SOURCE_DATA.parse().unwrap();
    for key in path {
        let next = match &value {
            Value::Object(members) => members.get(key),
            Value::Array(items) => parse_index(key).and_then(|index| items.get(index)),
            _ => None,
        };
        value = next.cloned().ok_or((404, "unknown_path"))?;
    }
    Ok(())
}

/// A decimal index without a sign and without leading zeros.
fn parse_index(key: &str) -> Option<usize> {
    let index: usize = key.parse().ok()?;
    (index.to_string() == key).then_some(index)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        out.push(if byte == b'%' {
            (hex(bytes.next()?)? * 16 + hex(bytes.next()?)?) as u8
        } else {
            byte
        });
    }
    String::from_utf8(out).ok()
}
