//! The parameters of `/resumen`, read from the raw query so that nothing is decoded leniently or taken twice.

use std::time::Duration;

use crate::domain::{Name, SourceSet};

use crate::server::{ProblemDetails, ProblemKind};
use crate::text::find_nearest;

/// The parameters that there are.
const PARAMETER_NAMES: [&str; 4] = ["fresh", "timeout", "max_age", "sources"];

/// Names of sources that a problem lists at most.
const MAX_LISTED_SOURCES: usize = 40;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SummaryQuery {
    /// A live answer in which readings up to this age need not be fetched; none asks for the snapshot.
    pub(crate) max_age: Option<Duration>,
    /// The deadline, if it is not the default.
    pub(crate) timeout: Option<Duration>,
    /// These sources in this order; none means all of them.
    pub(crate) sources: Option<Vec<Name>>,
}

impl SummaryQuery {
    /// Reads the text between `?` and the end.
    pub(crate) fn parse(
        raw: &str,
        roster: &SourceSet,
        max_timeout: Duration,
    ) -> Result<Self, ProblemDetails> {
        let mut query = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = parse_parameter_name(raw_name)? else {
                continue;
            };
            if seen.contains(&name) {
                return Err(invalid_parameter(
                    name,
                    raw_value,
                    "one value",
                    "is given more than once",
                ));
            }
            seen.push(name);
            let Some(value) = percent_decode(raw_value) else {
                let detail = "is not percent-encoded UTF-8";
                return Err(invalid_parameter(
                    name,
                    raw_value,
                    "`%` followed by two hexadecimal digits, as UTF-8",
                    detail,
                ));
            };
            query.set_parameter(name, &value, roster, max_timeout)?;
        }
        if seen.contains(&"fresh") && seen.contains(&"max_age") {
            let problem = invalid_parameter(
                "max_age",
                raw,
                "either `fresh` or `max_age`",
                "cannot be combined with `fresh`",
            );
            return Err(problem);
        }
        Ok(query)
    }

    fn set_parameter(
        &mut self,
        name: &'static str,
        value: &str,
        roster: &SourceSet,
        max_timeout: Duration,
    ) -> Result<(), ProblemDetails> {
        match name {
            "fresh" => self.max_age = parse_bool(value)?.then_some(Duration::ZERO),
            "max_age" => {
                let expected = "seconds, like `30` or `0.5`";
                let age = parse_seconds(value).ok_or_else(|| {
                    invalid_parameter(name, value, expected, "is no number of seconds")
                })?;
                self.max_age = Some(age);
            }
            "timeout" => self.timeout = Some(parse_timeout(value, max_timeout)?),
            _ => self.sources = Some(parse_sources(value, roster)?),
        }
        Ok(())
    }
}

/// Refuses every parameter but those that are ignored, for routes that have none.
pub(crate) fn require_no_parameters(raw: &str) -> Result<(), ProblemDetails> {
    let names = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap_or(pair));
    for raw_name in names {
        let name = percent_decode(raw_name).unwrap_or_else(|| raw_name.to_owned());
        if !name.starts_with('_') {
            let problem = ProblemDetails::new(
                ProblemKind::UnknownParameter,
                "this route has no parameters",
            );
            return Err(problem
                .with_param(&name)
                .with_got(&name)
                .with_expected("none"));
        }
    }
    Ok(())
}

/// The parameter that a name is; none for one that is to be ignored.
fn parse_parameter_name(raw: &str) -> Result<Option<&'static str>, ProblemDetails> {
    let name = percent_decode(raw).unwrap_or_else(|| raw.to_owned());
    if name.starts_with('_') {
        return Ok(None);
    }
    if let Some(known) = PARAMETER_NAMES.into_iter().find(|known| *known == name) {
        return Ok(Some(known));
    }
    let problem = ProblemDetails::new(ProblemKind::UnknownParameter, "no parameter has this name")
        .with_param(&name)
        .with_got(&name)
        .with_expected(PARAMETER_NAMES.join(", "))
        .with_suggestion(find_nearest(&name, PARAMETER_NAMES));
    Err(problem)
}

fn invalid_parameter(
    name: &'static str,
    got: &str,
    expected: &str,
    detail: &str,
) -> ProblemDetails {
    ProblemDetails::new(ProblemKind::InvalidParameter, format!("`{name}` {detail}"))
        .with_param(name)
        .with_got(got)
        .with_expected(expected)
}

fn parse_bool(value: &str) -> Result<bool, ProblemDetails> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(invalid_parameter(
            "fresh",
            value,
            "1, 0, true or false",
            "is neither true nor false",
        )),
    }
}

fn parse_timeout(value: &str, max: Duration) -> Result<Duration, ProblemDetails> {
    let expected = format!(
        "seconds, more than 0 and at most {}, like `2` or `0.5`",
        max.as_secs_f64()
    );
    let refused = |detail| invalid_parameter("timeout", value, &expected, detail);
    let timeout = parse_seconds(value).ok_or_else(|| refused("is no number of seconds"))?;
    if timeout.is_zero() {
        return Err(refused("must be more than 0"));
    }
    if timeout > max {
        return Err(refused("is larger than this server allows"));
    }
    Ok(timeout)
}

/// `[0-9]{1,9}(\.[0-9]{1,9})?`, exactly.
fn parse_seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let digits =
        |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

fn parse_sources(value: &str, roster: &SourceSet) -> Result<Vec<Name>, ProblemDetails> {
    let expected = "names of sources separated by commas, each once";
    let mut names: Vec<Name> = Vec::new();
    for text in value.split(',') {
        if text.is_empty() {
            return Err(invalid_parameter(
                "sources",
                value,
                expected,
                "holds an empty name",
            ));
        }
        let Some(source) = roster.get(text) else {
            return Err(unknown_source_problem(text, roster));
        };
        if names.contains(&source.name) {
            return Err(invalid_parameter(
                "sources",
                value,
                expected,
                "names a source more than once",
            ));
        }
        names.push(source.name.clone());
    }
    Ok(names)
}

fn unknown_source_problem(got: &str, roster: &SourceSet) -> ProblemDetails {
    let all = || roster.sources().iter().map(|source| source.name.as_str());
    let mut expected = all()
        .take(MAX_LISTED_SOURCES)
        .collect::<Vec<_>>()
        .join(", ");
    let more = roster.sources().len().saturating_sub(MAX_LISTED_SOURCES);
    if more > 0 {
        expected = format!("{expected} and {more} more");
    }
    ProblemDetails::new(ProblemKind::UnknownSource, "no source has this name")
        .with_param("sources")
        .with_got(got)
        .with_expected(expected)
        .with_suggestion(find_nearest(got, all()))
}

/// The text behind percent-encoding; none if a `%` is not followed by two digits, or what comes out is not UTF-8.
/// A `+` is a `+`.
fn percent_decode(raw: &str) -> Option<String> {
    if !raw.contains('%') {
        return Some(raw.to_owned());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = if *first == b'%' {
            parse_percent_escape(tail)?
        } else {
            (*first, tail)
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The bytes behind percent-encoding, leaving what is not valid as it stands. Only for guessing what was meant.
pub(crate) fn percent_decode_lossy(raw: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = Some(tail)
            .filter(|_| *first == b'%')
            .and_then(parse_percent_escape)
            .unwrap_or((*first, tail));
        bytes.push(byte);
        rest = tail;
    }
    bytes
}

fn parse_percent_escape(after_percent: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, tail @ ..] = after_percent else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some(((digit(*high)? * 16 + digit(*low)?) as u8, tail))
}

#[cfg(test)]
mod tests;
