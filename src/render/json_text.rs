//! Parts of JSON text: times, strings and numbers.

use std::io::Write;
use std::time::Duration;

use crate::domain::Time;

/// Returns `time` by RFC 3339 in UTC with milliseconds: `2026-11-22T06:55:10.734Z`. A time outside
/// of the years −9999 to 9999 is clamped.
pub fn format_rfc3339(time: Time) -> String {
    let range = jiff::Timestamp::MIN.as_millisecond()..=jiff::Timestamp::MAX.as_millisecond();
    let millis = time.as_millis().clamp(*range.start(), *range.end());
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{stamp:.3}")
}

/// Writes `text` as a JSON string, quotes included.
pub(super) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a `Vec` cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Writes a JSON number of milliseconds with three decimals.
pub(super) fn write_millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = duration.as_micros();
    let _ = write!(out, "{}.{:03}", micros / 1000, micros % 1000);
}

/// Writes a JSON number of seconds with at least one decimal.
pub(super) fn write_seconds(out: &mut Vec<u8>, duration: Duration) {
    let _ = write!(out, "{:?}", duration.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_milliseconds() {
        assert_eq!(
            format_rfc3339(Time::from_millis(1_795_330_510_734)),
            "2026-11-22T06:55:10.734Z"
        );
        assert_eq!(
            format_rfc3339(Time::from_millis(1_795_330_510_000)),
            "2026-11-22T06:55:10.000Z"
        );
        assert_eq!(
            format_rfc3339(Time::from_millis(i64::MAX)).len(),
            "9999-12-30T22:00:00.999Z".len()
        );
    }

    #[test]
    fn durations_are_json_numbers() {
        let mut out = Vec::new();
        write_millis(&mut out, Duration::from_micros(84_213));
        out.push(b' ');
        write_seconds(&mut out, Duration::from_secs(4));
        assert_eq!(String::from_utf8(out).unwrap(), "84.213 4.0");
    }
}
