//! Instants as text: RFC 3339.

use super::timestamp::Time;

/// Returns an instant as RFC 3339 in UTC with milliseconds: `2026-11-22T06:55:10.734Z`. An instant
/// outside of the years that RFC 3339 can express becomes the nearest one inside.
pub fn format_rfc3339(time: Time) -> String {
    let range = jiff::Timestamp::MIN.as_millisecond()..=jiff::Timestamp::MAX.as_millisecond();
    let millis = time.as_millis().clamp(*range.start(), *range.end());
    let timestamp =
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// Returns the instant that an RFC 3339 text names, rounded down to milliseconds.
pub fn parse_rfc3339(text: &str) -> Option<Time> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(Time::from_millis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_milliseconds() {
        for (millis, text) in [
            (1_795_330_510_734, "2026-11-22T06:55:10.734Z"),
            (1_795_330_510_000, "2026-11-22T06:55:10.000Z"),
        ] {
            let time = Time::from_millis(millis);
            assert_eq!(format_rfc3339(time), text);
            assert_eq!(parse_rfc3339(text), Some(time));
        }
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn extreme_instant_keeps_its_length() {
        let text = format_rfc3339(Time::from_millis(i64::MAX));
        assert_eq!(text.len(), "9999-12-30T22:00:00.999Z".len());
    }
}
