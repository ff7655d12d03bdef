//! References in texts: `${NAME}`, `${NAME:-default}`, `${file:PATH}`, and `${date:FORMAT}` and `${auth.FIELD}`, which are
//! resolved when a request is sent.

use std::borrow::Cow;
use std::fmt;

use crate::domain::{DateError, DateReference, RequestText, RequestTime, Time};

use super::problems::{ValueError, refuse};
use super::span::Span;

/// A parsed reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigReference<'t> {
    /// `${NAME}`
    Variable(&'t str),
    /// `${NAME:-default}`, with the default as written.
    VariableOrDefault(&'t str, &'t str),
    /// `${file:PATH}`
    File(&'t str),
    /// `${date:FORMAT}`, `${date+OFFSET:FORMAT}`, with what follows `date`.
    Date(&'t str),
    /// `${auth.FIELD}`
    AuthField(&'t str),
}

/// The reference in a message, without a value.
impl fmt::Display for ConfigReference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) | Self::VariableOrDefault(name, _) => {
                write!(f, "the environment variable `{name}`")
            }
            Self::File(path) => write!(f, "the file `{}`", path.escape_debug()),
            Self::Date(_) => f.write_str("the date"),
            Self::AuthField(name) => write!(f, "the field `{name}` of the login"),
        }
    }
}

/// The value of a reference.
pub(super) enum ReferenceValue {
    Text(String),
    /// The value is known when the request is sent.
    Date(DateReference),
    /// The value of this field is known after the login.
    AuthField(String),
    /// The same within a JSON string.
    JsonAuthField(String),
}

/// `text` with every reference replaced by its value from `lookup`, which also gets the text before the reference, and
/// `$$` by `$`. Otherwise all errors, each with the
/// place of its reference in `text`.
pub(super) fn expand_references<F>(
    text: &str,
    mut lookup: F,
) -> Result<RequestText, Vec<(Span, ValueError)>>
where
    F: FnMut(ConfigReference<'_>, &str) -> Result<ReferenceValue, ValueError>,
{
    let mut value = RequestText::default();
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        value.push_literal(before);
        let start = text.len() - after.len() - 1;
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            value.push_literal("$");
            rest = after;
        } else if after.starts_with('{') {
            // Without a `}`, the reference extends to the end of the text.
            let length = after.find('}').map_or(after.len(), |end| end + 1);
            let reference = parse_reference(&after[..length]);
            match reference.and_then(|reference| lookup(reference, &text[..start])) {
                Ok(ReferenceValue::Text(found)) => value.push_literal(&found),
                Ok(ReferenceValue::Date(date)) => value.push_date(date),
                Ok(ReferenceValue::AuthField(name)) => value.push_auth_field(&name),
                Ok(ReferenceValue::JsonAuthField(name)) => value.push_json_auth_field(&name),
                Err(error) => errors.push((start..start + 1 + length, error)),
            }
            rest = &after[length..];
        } else {
            value.push_literal("$");
        }
    }
    value.push_literal(rest);
    if errors.is_empty() {
        Ok(value)
    } else {
        Err(errors)
    }
}

/// The text at an example of the time of a request. Fields of a login have another example at another time.
pub(super) fn example_text(text: &RequestText, now: Time) -> String {
    let example = |_: &str| Ok::<_, DateError>(now.as_millis().to_string());
    let time = RequestTime {
        now,
        time_zone: None,
    };
    let filled = text.fill_auth_fields(example);
    let resolved = filled.and_then(|text| text.resolve(time).map(Cow::into_owned));
    resolved.unwrap_or_default()
}

/// The reference to a date, from what follows `date`.
pub(super) fn parse_date(text: &str) -> Result<DateReference, ValueError> {
    match DateReference::parse(text) {
        Ok(date) => Ok(date),
        Err(error) => {
            let message = format!("`${{date{}}}` is not a date: {error}", text.escape_debug());
            let help = "expected `${date:FORMAT}`, `${date+1d:FORMAT}` or `${date-2h30m:FORMAT}` with a format of \
                        strftime, such as `%Y-%m-%d`";
            refuse(message, help)
        }
    }
}

/// Parses `{…}`, which ends at the first `}` or at the end of the text.
fn parse_reference(written: &str) -> Result<ConfigReference<'_>, ValueError> {
    // Nested references first: their `}` would otherwise be taken for the end of the outer one.
    let inner = written[1..].strip_suffix('}');
    if written.contains("${") {
        let help = "references do not nest; a literal dollar is `$$`";
        return refuse("a `${…}` inside another", help);
    }
    let Some(inner) = inner else {
        return refuse(
            "a `${` without its `}`",
            "close it with `}`; a literal dollar is `$$`",
        );
    };
    match inner.strip_prefix("file:") {
        Some("") => return refuse("`${file:}` names no file", "expected `${file:PATH}`"),
        Some(path) => return Ok(ConfigReference::File(path)),
        None => {}
    }
    if let Some(date) = inner.strip_prefix("date")
        && date.starts_with([':', '+', '-'])
    {
        return Ok(ConfigReference::Date(date));
    }
    if let Some(field) = inner.strip_prefix("auth.") {
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if field.is_empty() || !field.bytes().all(is_letter) {
            let message = format!("`{}` names no field of a login", inner.escape_debug());
            let help =
                "expected `${auth.FIELD}` with a name that the `extract` of `[auth.NAME]` gives";
            return refuse(message, help);
        }
        return Ok(ConfigReference::AuthField(field));
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_word || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("`{}` is not a valid variable name", name.escape_debug());
        let help =
            "expected `${NAME}`, `${NAME:-default}` or `${file:PATH}`; a literal dollar is `$$`";
        return refuse(message, help);
    }
    Ok(match default {
        Some(default) => ConfigReference::VariableOrDefault(name, default),
        None => ConfigReference::Variable(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_sample(text: &str) -> Result<String, Vec<(Span, ValueError)>> {
        let expanded = expand_references(text, |reference, _| {
            Ok(ReferenceValue::Text(match reference {
                ConfigReference::Variable("HOST") => "example.org".into(),
                ConfigReference::Variable(name) => {
                    return refuse(format!("{name} is not set"), "");
                }
                ConfigReference::VariableOrDefault(_, default) => default.into(),
                ConfigReference::File(path) => format!("<{path}>"),
                ConfigReference::Date(date) => return parse_date(date).map(ReferenceValue::Date),
                ConfigReference::AuthField(name) => {
                    return Ok(ReferenceValue::AuthField(name.into()));
                }
            }))
        });
        expanded.map(|text| example_text(&text, Time::default()))
    }

    fn first_problem(text: &str) -> (String, Span) {
        let (span, error) = expand_sample(text).unwrap_err().swap_remove(0);
        (error.message, span)
    }

    #[test]
    fn references_are_expanded() {
        assert_eq!(
            expand_sample("https://${HOST}/x").unwrap(),
            "https://example.org/x"
        );
        assert_eq!(expand_sample("${PORT:-80}${X:-}").unwrap(), "80");
        assert_eq!(expand_sample("${file:a/b c}").unwrap(), "<a/b c>");
        assert_eq!(expand_sample("$$ $5 $").unwrap(), "$ $5 $");
        assert_eq!(expand_sample("$${HOST}").unwrap(), "${HOST}");
        assert_eq!(expand_sample("$$${HOST}").unwrap(), "$example.org");
    }

    #[test]
    fn expansion_is_not_recursive() {
        let value = |_: ConfigReference<'_>, _: &str| Ok(ReferenceValue::Text("${HOST}".into()));
        let expanded = expand_references("${X}", value).unwrap();
        assert_eq!(expanded.as_literal(), Some("${HOST}"));
    }

    #[test]
    fn references_of_requests_have_examples() {
        assert_eq!(expand_sample("a${date:%Y}b").unwrap(), "a1970b");
        assert_eq!(expand_sample("${date-1d:%d:%H}").unwrap(), "31:00");
        assert_eq!(expand_sample("/${auth.id}/").unwrap(), "/0/");
        assert!(first_problem("${auth.}").0.contains("names no field"));
        assert_eq!(expand_sample("$${date:%Y}").unwrap(), "${date:%Y}");
        assert!(first_problem("${date+1y:%Y}").0.contains("is not a date"));
    }

    #[test]
    fn reference_problems_have_spans() {
        assert_eq!(expand_sample("${A} ${B} ${HOST}").unwrap_err().len(), 2);
        assert_eq!(first_problem("a ${A} b"), ("A is not set".into(), 2..6));
        assert_eq!(
            first_problem("ñ ${A"),
            ("a `${` without its `}`".into(), 3..6)
        );
        assert_eq!(
            first_problem("${A${B}}"),
            ("a `${…}` inside another".into(), 0..7)
        );
        assert_eq!(first_problem("${A:-${B}}").0, "a `${…}` inside another");
        assert_eq!(first_problem("${}").0, "`` is not a valid variable name");
        assert_eq!(
            first_problem("${1A}").0,
            "`1A` is not a valid variable name"
        );
        assert_eq!(first_problem("${file:}").0, "`${file:}` names no file");
    }
}
