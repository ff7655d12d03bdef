//! The query parameters of `/resumen`, its stream, and single values.
//!
//! The raw query is parsed here: a lenient decoder would accept invalid escapes and repeated
//! parameters.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::domain::{Name, SourceSet};
use crate::render::{BodyForm, EventName};
use crate::server::{ProblemDetails, ProblemKind};
use crate::text::find_nearest;

/// Names of the parameters of `/resumen`.
pub(super) const SUMMARY_PARAMETERS: &[&str] =
    &["fresh", "timeout", "max_age", "sources", "format"];

/// Names of the parameters of `/resumen/stream`.
pub(super) const STREAM_PARAMETERS: &[&str] = &["sources", "format", "event"];

/// Names of the parameters of `/valor`.
pub(super) const VALUE_PARAMETERS: &[&str] = &["fresh", "timeout", "max_age"];

/// Maximum number of source names in a problem.
const MAX_LISTED_SOURCES: usize = 40;

/// A parsed query. A parameter that a route does not have has its default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SummaryQuery {
    /// For a live answer: the maximum age of a reading that is not fetched again. `None` selects
    /// the snapshot.
    pub(super) max_age: Option<Duration>,
    /// The request's deadline; `None` selects the default.
    pub(super) timeout: Option<Duration>,
    /// The sources of the response, in this order; `None` selects all.
    pub(super) sources: Option<Vec<Name>>,
    /// The form of the response.
    pub(super) form: BodyForm,
    /// The name of the events.
    pub(super) event: EventName,
}

impl SummaryQuery {
    /// Parses the text after `?`. `parameters` are the names of the route's parameters.
    pub(super) fn parse(
        raw: &str,
        parameters: &'static [&'static str],
        known_sources: &SourceSet,
        max_timeout: Duration,
    ) -> Result<Self, ProblemDetails> {
        let mut query = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            // A parameter without `=` has an empty value, which every parameter rejects.
            let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = parse_parameter_name(raw_name, parameters)? else {
                continue;
            };
            // Proxies and libraries disagree whether the first or the last value counts.
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
                let expected = "`%` followed by two hexadecimal digits, as UTF-8";
                let detail = "is not percent-encoded UTF-8";
                return Err(invalid_parameter(name, raw_value, expected, detail));
            };
            query.set_parameter(name, &value, known_sources, max_timeout)?;
        }
        // After all parameters: their order in the query has no meaning.
        if seen.contains(&"fresh") && seen.contains(&"max_age") {
            return Err(invalid_parameter(
                "max_age",
                raw,
                "either `fresh` or `max_age`",
                "cannot be combined with `fresh`",
            ));
        }
        Ok(query)
    }

    fn set_parameter(
        &mut self,
        name: &'static str,
        value: &str,
        known_sources: &SourceSet,
        max_timeout: Duration,
    ) -> Result<(), ProblemDetails> {
        match name {
            // `fresh=0` selects the snapshot, like a query without the parameter.
            "fresh" => self.max_age = parse_bool(value)?.then_some(Duration::ZERO),
            "max_age" => {
                let expected = "seconds, such as `30` or `0.5`";
                let max_age = parse_seconds(value).ok_or_else(|| {
                    invalid_parameter(name, value, expected, "is not a number of seconds")
                })?;
                self.max_age = Some(max_age);
            }
            "timeout" => self.timeout = Some(parse_timeout(value, max_timeout)?),
            "format" => self.form = parse_form(value)?,
            "event" => self.event = parse_event(value)?,
            _ => self.sources = Some(parse_sources(value, known_sources)?),
        }
        Ok(())
    }
}

/// Rejects any parameter whose name does not begin with `_`, for routes without parameters.
pub(super) fn require_no_parameters(raw: &str) -> Result<(), ProblemDetails> {
    let names = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap_or(pair));
    for raw_name in names {
        // A name that cannot be decoded is reported as it was sent.
        let name = percent_decode(raw_name).unwrap_or_else(|| raw_name.to_owned());
        if !name.starts_with('_') {
            let detail = "the route has no parameters";
            return Err(ProblemDetails::new(ProblemKind::UnknownParameter, detail)
                .with_param(&name)
                .with_got(&name)
                .with_expected("none"));
        }
    }
    Ok(())
}

/// The known parameter with this name; `None` if the name begins with `_`, which marks an ignored
/// parameter.
fn parse_parameter_name(
    raw: &str,
    parameters: &'static [&'static str],
) -> Result<Option<&'static str>, ProblemDetails> {
    let name = percent_decode(raw).unwrap_or_else(|| raw.to_owned());
    if name.starts_with('_') {
        return Ok(None);
    }
    let mut known = parameters.iter().copied();
    if let Some(known) = known.find(|known| *known == name) {
        return Ok(Some(known));
    }
    let detail = "no parameter has this name";
    Err(ProblemDetails::new(ProblemKind::UnknownParameter, detail)
        .with_param(&name)
        .with_got(&name)
        .with_expected(parameters.join(", "))
        .with_suggestion(find_nearest(&name, parameters.iter().copied())))
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

fn parse_form(value: &str) -> Result<BodyForm, ProblemDetails> {
    match value {
        "json" => Ok(BodyForm::Summary),
        "flat" => Ok(BodyForm::Flat),
        _ => Err(invalid_parameter(
            "format",
            value,
            "json or flat",
            "is not a format",
        )),
    }
}

fn parse_event(value: &str) -> Result<EventName, ProblemDetails> {
    match value {
        "resumen" => Ok(EventName::Resumen),
        "message" => Ok(EventName::Message),
        _ => Err(invalid_parameter(
            "event",
            value,
            "resumen or message",
            "is not the name of an event",
        )),
    }
}

fn parse_timeout(value: &str, max: Duration) -> Result<Duration, ProblemDetails> {
    let expected = format!(
        "seconds, more than 0 and at most {}, such as `2` or `0.5`",
        max.as_secs_f64()
    );
    let invalid = |detail| invalid_parameter("timeout", value, &expected, detail);
    let timeout = parse_seconds(value).ok_or_else(|| invalid("is not a number of seconds"))?;
    if timeout.is_zero() {
        return Err(invalid("must be more than 0"));
    }
    if timeout > max {
        return Err(invalid("exceeds server.max_timeout"));
    }
    Ok(timeout)
}

/// Parses `[0-9]{1,9}(\.[0-9]{1,9})?`.
fn parse_seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    // Parsing as a float would also accept `inf`, `1e9`, `+2` and `.5`.
    let is_valid = |digits: &str| {
        (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    if !is_valid(whole) || !is_valid(fraction) {
        return None;
    }
    // Padded with zeros to nine digits, the fraction is a number of nanoseconds.
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

fn parse_sources(value: &str, known_sources: &SourceSet) -> Result<Vec<Name>, ProblemDetails> {
    let expected = "names of sources separated by commas, each once";
    let invalid = |detail| invalid_parameter("sources", value, expected, detail);
    let mut names: Vec<Name> = Vec::new();
    for text in value.split(',') {
        if text.is_empty() {
            return Err(invalid("contains an empty name"));
        }
        let Some(source) = known_sources.get(text) else {
            let kind = ProblemKind::UnknownSource;
            return Err(unknown_source_problem(kind, text, known_sources).with_param("sources"));
        };
        if names.contains(&source.name) {
            return Err(invalid("contains a source more than once"));
        }
        names.push(source.name.clone());
    }
    Ok(names)
}

/// The problem of a name that is not one of `known_sources`.
pub(super) fn unknown_source_problem(
    kind: ProblemKind,
    got: &str,
    known_sources: &SourceSet,
) -> ProblemDetails {
    let names: Vec<&str> = known_sources
        .sources()
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    // A configuration may have thousands of sources; a suggestion is still made among all.
    let listed = &names[..names.len().min(MAX_LISTED_SOURCES)];
    let mut expected = listed.join(", ");
    if listed.len() < names.len() {
        expected = format!("{expected} and {} more", names.len() - listed.len());
    }
    ProblemDetails::new(kind, "no source has this name")
        .with_got(got)
        .with_expected(expected)
        .with_suggestion(find_nearest(got, names))
}

/// The decoded text. `None` if a `%` is not followed by two hexadecimal digits, or the result is
/// not UTF-8. A `+` is not a space.
pub(super) fn percent_decode(raw: &str) -> Option<String> {
    // `percent_encoding` keeps an invalid escape as it is, so the escapes are checked first.
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !raw.split('%').skip(1).all(is_escape) {
        return None;
    }
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests;
