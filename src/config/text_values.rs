//! Values that TOML writes as strings of a certain form: durations, sizes, words of a list.

use crate::text::{
    MAX_DURATION, UnitError, UnitStyle, find_nearest, format_duration, format_size, parse_duration,
    parse_size,
};

use super::keys::Kind;
use super::problems::{ValueError, refuse};
use super::span::SpannedStr;
use super::table::Value;

/// The value of a string by the type of its key. The message of the error continues "KEY is TEXT, which ".
pub(super) fn parse_text_value(kind: Kind, text: &SpannedStr) -> Result<Value, ValueError> {
    match kind {
        Kind::Enum(words) if !words.contains(&text.value.as_str()) => {
            let help = match find_nearest(&text.value, words.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("expected one of {}", words.join(", ")),
            };
            refuse("is not accepted", help)
        }
        Kind::Duration | Kind::DurationOrZero => match parse_duration(&text.value) {
            Ok(duration) if duration.is_zero() && kind == Kind::Duration => {
                refuse("is too small", r#"expected at least "1ms""#)
            }
            Ok(duration) => Ok(Value::Duration(duration)),
            Err(error) => refuse_unit(
                error,
                kind,
                "duration",
                text,
                &format_duration(MAX_DURATION, UnitStyle::Syntax),
            ),
        },
        Kind::Size(max) => match parse_size(&text.value) {
            Ok(0) => refuse("is too small", r#"expected at least "1B""#),
            Ok(size) if size <= max => Ok(Value::Integer(size)),
            refused => {
                let error = refused.err().unwrap_or(UnitError::TooLarge);
                refuse_unit(
                    error,
                    kind,
                    "size",
                    text,
                    &format_size(max, UnitStyle::Syntax),
                )
            }
        },
        _ => Ok(Value::Text(text.clone())),
    }
}

fn refuse_unit(
    error: UnitError,
    kind: Kind,
    what: &str,
    text: &SpannedStr,
    max: &str,
) -> Result<Value, ValueError> {
    match error {
        UnitError::TooLarge => refuse("is too large", format!("expected at most \"{max}\"")),
        // A suggestion repeats the value, which must not be shown if it comes from a reference.
        UnitError::Malformed(Some(meant)) if text.original.is_none() => refuse(
            format!("is not a {what}"),
            format!("did you mean \"{meant}\"?"),
        ),
        UnitError::Malformed(_) => refuse(
            format!("is not a {what}"),
            format!("expected {}", kind.expected()),
        ),
    }
}
