//! One source in the output of `once`: its table cells and error lines, from the JSON of its result.

use serde_json::Value;

use super::once_appearance::{GROUP_KEY, LEVEL_KEY, TITLE_KEY};
use super::terminal::{TextStyle, escape_control};

/// Key that `once` adds to an ok result: the failures of providers before the one that answered. A list of objects with
/// `provider` and with `code`, `failing_since` and `error` as in the body.
pub(super) const HIDDEN_FAILURES_KEY: &str = "hidden";

/// The result of one source as text. Control characters are escaped.
pub(super) struct ResultRow {
    /// Title of the source's group.
    pub(super) group: Option<String>,
    /// Name, state, age, duration in ms, provider, data.
    pub(super) cells: [String; 6],
    /// Style of the state and of the error.
    pub(super) style: TextStyle,
    /// Whether the result has data.
    pub(super) is_ok: bool,
    /// Failure code, if the latest attempt failed.
    pub(super) code: Option<String>,
    /// The latest failure as one line.
    pub(super) error: Option<String>,
    /// Failures of other providers, one line each.
    pub(super) hidden_failures: Vec<String>,
}

impl ResultRow {
    /// Builds the row of the source `name` in a body that was generated at `generated_at`.
    pub(super) fn new(name: &str, result: &Value, generated_at: &str) -> Self {
        let is_ok = result["ok"] == true;
        let level = result[LEVEL_KEY].as_str();
        let (state, style) = match (is_ok, result["stale"] == true, result.get("error"), level) {
            (false, ..) => ("missing", TextStyle::Error),
            (true, true, ..) => ("stale", TextStyle::Warning),
            (true, false, _, Some("critical")) => ("critical", TextStyle::Error),
            (true, false, _, Some(level)) => (level, TextStyle::Warning),
            (true, false, Some(_), None) => ("fresh", TextStyle::Warning),
            (true, false, None, None) => ("fresh", TextStyle::Success),
        };
        let text = |key: &str| result[key].as_str().map(escape_control);
        let ms = result["ms"].as_f64().map(|ms| format!("{ms:.0}"));
        let cells = [
            escape_control(result[TITLE_KEY].as_str().unwrap_or(name)),
            state.to_owned(),
            result["age_ms"]
                .as_u64()
                .map(format_age)
                .unwrap_or_default(),
            ms.unwrap_or_default(),
            text("provider").unwrap_or_default(),
            result.get("data").map(format_data).unwrap_or_default(),
        ];
        let hidden_failures = result[HIDDEN_FAILURES_KEY].as_array().into_iter().flatten();
        let hidden_failures = hidden_failures.filter_map(|failure| {
            let provider = escape_control(failure["provider"].as_str().unwrap_or_default());
            let text = format_failure(failure, generated_at)?;
            Some(format!("provider {provider}: {text}"))
        });
        Self {
            group: text(GROUP_KEY),
            cells,
            style,
            is_ok,
            code: text("code"),
            error: format_failure(result, generated_at),
            hidden_failures: hidden_failures.collect(),
        }
    }
}

/// Returns a failure as `timeout since 06:48:10Z: no answer within 1 s`.
fn format_failure(failure: &Value, generated_at: &str) -> Option<String> {
    let text = |key: &str| failure[key].as_str().map(escape_control);
    let since = failure["failing_since"].as_str();
    let since = since.map(|at| format!(" since {}", format_instant(at, generated_at)));
    let (code, since) = (text("code").unwrap_or_default(), since.unwrap_or_default());
    Some(format!(
        "{code}{}: {}",
        escape_control(&since),
        text("error")?
    ))
}

/// Returns `{"usd": 1, "eur": 2}` as `usd 1, eur 2`. Nested values stay JSON.
fn format_data(data: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => escape_control(text),
        other => escape_control(&other.to_string()),
    };
    match data {
        Value::Object(members) if !members.is_empty() => {
            let members = members.iter();
            let texts =
                members.map(|(key, value)| format!("{} {}", escape_control(key), plain(value)));
            texts.collect::<Vec<_>>().join(", ")
        }
        other => plain(other),
    }
}

/// Returns an age in milliseconds in its two largest units: `17 min 0 s`.
fn format_age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Returns an RFC 3339 instant in whole seconds, without the date if it is that of `generated_at`: `06:48:10Z`.
fn format_instant(at: &str, generated_at: &str) -> String {
    let whole_seconds = at.split_once('.').map(|(whole, _)| format!("{whole}Z"));
    let seconds = whole_seconds.unwrap_or_else(|| at.to_owned());
    match (seconds.split_once('T'), generated_at.split_once('T')) {
        (Some((day, time)), Some((today, _))) if day == today => time.to_owned(),
        _ => seconds,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let spans = [0, 823, 9_999, 59_999, 1_020_834, 11_000_000, 200_000_000].map(format_age);
        assert_eq!(
            spans,
            [
                "0.0 s",
                "0.8 s",
                "9.9 s",
                "59 s",
                "17 min 0 s",
                "3 h 3 min",
                "2 d 7 h"
            ]
        );
    }

    #[test]
    fn instants_of_today_omit_date() {
        let generated_at = "2026-11-22T06:55:10.734Z";
        assert_eq!(
            format_instant("2026-11-22T06:48:10.102Z", generated_at),
            "06:48:10Z"
        );
        assert_eq!(
            format_instant("2026-11-21T23:59:59.999Z", generated_at),
            "2026-11-21T23:59:59Z"
        );
    }

    #[test]
    fn data_is_listed_by_member() {
        assert_eq!(
            format_data(&json!({"a": ["x"], "b": null, "c": "y\n"})),
            "a [\"x\"], b null, c y\\u{a}"
        );
    }
}
