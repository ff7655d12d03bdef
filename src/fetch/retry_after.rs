//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use crate::domain::{MAX_RETRY_AFTER, Time, parse_rfc3339};

/// Returns the delay of `value`, a `Retry-After`: a number of seconds, an HTTP date in one of
/// its three formats, or, beyond the RFC, a date of RFC 3339. A date is relative to `date`, the `Date` of the response, so that the
/// provider's clock may be wrong; without one, to `now`. The delay is at most [`MAX_RETRY_AFTER`];
/// `None` if it is zero or the value is invalid.
pub fn parse_retry_after(value: &str, date: Option<&str>, now: Time) -> Option<Duration> {
    let value = value.trim();
    let delay = parse_seconds(value)
        .or_else(|| parse_date_delay(value, date, now))
        .or_else(|| {
            let until = to_system_time(parse_rfc3339(value)?);
            until.duration_since(response_time(date, now)).ok()
        })?;
    Some(delay.min(MAX_RETRY_AFTER)).filter(|delay| !delay.is_zero())
}

/// Returns the longest delay of all `Retry-After` headers of a response.
pub(super) fn longest_retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    headers
        .get_all(RETRY_AFTER)
        .iter()
        .filter_map(|value| parse_retry_after(value.to_str().ok()?, date, now))
        .max()
}

/// Parses seconds: whole ones by the RFC, or decimal ones, which some servers send, rounded up.
fn parse_seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Only digits are left, so the parse fails by overflow alone.
    let whole = whole.parse().unwrap_or(u64::MAX);
    let round_up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.saturating_add(round_up)))
}

/// Returns the time from `date`, else from `now`, to the HTTP date `value`, at least zero; `None` if it is invalid.
pub(super) fn parse_date_delay(value: &str, date: Option<&str>, now: Time) -> Option<Duration> {
    let until = httpdate::parse_http_date(value).ok()?;
    let delay = until.duration_since(response_time(date, now));
    Some(delay.unwrap_or_default())
}

/// Returns the time at which the provider responded by its own clock, else `now`.
fn response_time(date: Option<&str>, now: Time) -> SystemTime {
    date.and_then(|date| httpdate::parse_http_date(date.trim()).ok())
        .unwrap_or_else(|| to_system_time(now))
}

fn to_system_time(now: Time) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Time = Time::from_millis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT

    fn retry_after_secs(value: &str, date: Option<&str>) -> Option<u64> {
        parse_retry_after(value, date, NOW).map(|delay| delay.as_secs())
    }

    #[test]
    fn retry_after_is_capped() {
        assert_eq!(retry_after_secs("7", None), Some(7));
        assert_eq!(retry_after_secs(" 120 ", None), Some(120));
        assert_eq!(retry_after_secs("900", None), Some(900));
        for long in ["901", "315360000", &"9".repeat(400), "901.5"] {
            assert_eq!(retry_after_secs(long, None), Some(900), "{long}");
        }
        assert_eq!(retry_after_secs("1.2", None), Some(2));
        assert_eq!(retry_after_secs("1.000", None), Some(1));
    }

    #[test]
    fn date_is_relative_to_response() {
        let own = Some("Tue, 01 Jan 2030 00:00:00 GMT");
        for date in [
            "Tue, 01 Jan 2030 00:00:30 GMT",
            "Tuesday, 01-Jan-30 00:00:30 GMT",
            "Tue Jan  1 00:00:30 2030",
            "2030-01-01T00:00:30Z",
            "2030-01-01T01:00:30.000+01:00",
        ] {
            assert_eq!(retry_after_secs(date, own), Some(30), "{date}");
        }
        assert_eq!(
            retry_after_secs("Sun, 06 Nov 1994 08:50:37 GMT", None),
            Some(60)
        );
        assert_eq!(
            retry_after_secs("Sun, 06 Nov 1994 08:50:37 GMT", Some("yesterday")),
            Some(60)
        );
        assert_eq!(
            retry_after_secs("Sun, 01 Jan 2040 00:00:00 GMT", own),
            Some(900)
        );
    }

    #[test]
    fn invalid_retry_after_is_ignored() {
        let past = "Sun, 06 Nov 1994 08:49:00 GMT";
        for value in [
            "0", "0.0", "-1", "-120", "+5", "1e9", "NaN", "", "soon", "5 s", "0x10", "1.", ".5",
            "٣", past,
        ] {
            assert_eq!(retry_after_secs(value, None), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn retry_after_is_always_in_range(value in "\\PC{0,40}", date in "\\PC{0,40}", now in any::<i64>()) {
            let delay = parse_retry_after(&value, Some(&date), Time::from_millis(now));
            prop_assert!(delay.is_none_or(|delay| delay <= MAX_RETRY_AFTER && !delay.is_zero()));
        }
    }
}
