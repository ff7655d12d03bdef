//! Exhausted quotas: `X-RateLimit-Remaining: 0` and its kind, and the `RateLimit` field
//! (draft-ietf-httpapi-ratelimit-headers).

use std::time::Duration;

use http::HeaderMap;
use http::header::DATE;

use crate::domain::{MAX_RETRY_AFTER, Time};

use super::retry_after::parse_retry_after;

const REMAINING: [&str; 3] = [
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
    "ratelimit-remaining",
];

/// Seconds until the reset, or the time of the reset.
const RESET: [&str; 5] = [
    "x-ratelimit-reset-after",
    "x-rate-limit-reset-after",
    "x-ratelimit-reset",
    "x-rate-limit-reset",
    "ratelimit-reset",
];

/// The least number of seconds that is a time since 1970, not a delay: 2001.
const MIN_EPOCH_SECONDS: f64 = 1e9;

/// The least number that is a time in milliseconds since 1970.
const MIN_EPOCH_MILLIS: f64 = 1e11;

/// A quota without any call left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExhaustedQuota {
    /// Time until the reset, at most [`MAX_RETRY_AFTER`]. `None` if it is not told or has passed.
    pub(super) reset_after: Option<Duration>,
}

/// Returns the quota of a response that has no call left; `None` if calls are left or the response
/// tells no quota. `X-RateLimit-Remaining` needs a reset time beside it.
pub(super) fn exhausted_quota(headers: &HeaderMap, now: Time) -> Option<ExhaustedQuota> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let is_zero = |name: &&str| text(name).is_some_and(is_zero);
    if REMAINING.iter().any(is_zero)
        && let Some(reset) = RESET.iter().find_map(|name| text(name))
    {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let reset_after = parse_reset(reset, date, now);
        return Some(ExhaustedQuota { reset_after });
    }
    let values = headers.get_all("ratelimit").iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .filter_map(parse_rate_limit)
        .max_by_key(|quota| quota.reset_after)
}

/// Parses a list of policies such as `"hour";r=0;t=1800, "day";r=900`, or the older form
/// `limit=100, remaining=0, reset=50`. Returns the exhausted policy with the latest reset.
fn parse_rate_limit(value: &str) -> Option<ExhaustedQuota> {
    let parameter = |policy: &str, names: [&str; 2]| {
        policy.split([';', ',']).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let is_named = names.contains(&name.trim().to_ascii_lowercase().as_str());
            is_named.then(|| value.trim().to_owned())
        })
    };
    let is_older = parameter(value, ["remaining"; 2]).is_some();
    let policies: Vec<&str> = if is_older {
        vec![value]
    } else {
        value.split(',').collect()
    };
    let exhausted = policies.into_iter().filter_map(|policy| {
        let remaining = parameter(policy, ["r", "remaining"])?;
        let reset = parameter(policy, ["t", "reset"]);
        is_zero(&remaining).then(|| ExhaustedQuota {
            reset_after: reset.and_then(|reset| to_delay(reset.parse().ok()?)),
        })
    });
    exhausted.max_by_key(|quota| quota.reset_after)
}

fn is_zero(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|digit| digit == b'0')
}

/// Parses a delay in seconds, a time in seconds or milliseconds since 1970, or a date of HTTP or RFC 3339. A time is
/// relative to `date`, the `Date` of the response, so that the provider's clock may be wrong.
fn parse_reset(value: &str, date: Option<&str>, now: Time) -> Option<Duration> {
    let value = value.trim();
    let Ok(number) = value.parse::<f64>() else {
        return parse_retry_after(value, date, now);
    };
    if number < MIN_EPOCH_SECONDS {
        return to_delay(number);
    }
    let at = if number < MIN_EPOCH_MILLIS {
        number
    } else {
        number / 1e3
    };
    let own = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    let own = own.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let from = own.map_or(now.as_millis() as f64 / 1e3, |date| date.as_secs_f64());
    to_delay(at - from)
}

/// Returns the delay in whole seconds, rounded up; `None` if it is not positive.
fn to_delay(seconds: f64) -> Option<Duration> {
    // `min` and `max` turn NaN into a bound, so the conversion is always in range.
    let seconds = seconds.max(0.0).min(MAX_RETRY_AFTER.as_secs_f64()).ceil();
    Some(Duration::from_secs(seconds as u64)).filter(|delay| !delay.is_zero())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: Time = Time::from_millis(1_800_000_000_000);

    /// Returns the seconds until the reset; 0 if there is none.
    fn quota(fields: &[(&'static str, &'static str)]) -> Option<u64> {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let quota = exhausted_quota(&fields.collect(), NOW)?;
        Some(quota.reset_after.map_or(0, |delay| delay.as_secs()))
    }

    #[test]
    fn exhausted_quota_has_a_reset() {
        let left = ("x-ratelimit-remaining", "0");
        assert_eq!(
            quota(&[left, ("x-ratelimit-reset", "1800000300")]),
            Some(300)
        );
        assert_eq!(
            quota(&[left, ("x-ratelimit-reset", "1800000300000")]),
            Some(300)
        );
        assert_eq!(quota(&[left, ("x-ratelimit-reset", "42")]), Some(42));
        assert_eq!(quota(&[left, ("x-ratelimit-reset-after", "1.2")]), Some(2));
        assert_eq!(
            quota(&[left, ("x-ratelimit-reset", "1900000000")]),
            Some(900)
        );
        assert_eq!(quota(&[left, ("x-ratelimit-reset", "1700000000")]), Some(0));
        assert_eq!(
            quota(&[left, ("x-ratelimit-reset", "2027-01-15T08:05:00Z")]),
            Some(300)
        );
        let date = ("date", "Fri, 15 Jan 2027 07:58:00 GMT");
        let reset = ("x-ratelimit-reset", "1800000000");
        assert_eq!(quota(&[left, reset, date]), Some(120));
        let plain = [("ratelimit-remaining", "0"), ("ratelimit-reset", "7")];
        assert_eq!(quota(&plain), Some(7));
    }

    #[test]
    fn rate_limit_field_has_policies() {
        let field = |value| quota(&[("ratelimit", value)]);
        assert_eq!(field(r#""default";r=0;t=30"#), Some(30));
        assert_eq!(field(r#""hour";r=0;t=30, "day";r=0;t=60"#), Some(60));
        assert_eq!(field(r#""hour";r=9;t=30, "day";r=0"#), Some(0));
        assert_eq!(field("limit=100, remaining=0, reset=50"), Some(50));
        assert_eq!(field("r=0; t=99999"), Some(900));
        assert_eq!(field(r#""hour";r=9;t=30"#), None);
        assert_eq!(field(""), None);
    }

    #[test]
    fn other_quotas_are_ignored() {
        let reset = ("x-ratelimit-reset", "60");
        for left in ["1", "", "x", "-0", "00000000001"] {
            assert_eq!(
                quota(&[("x-ratelimit-remaining", left), reset]),
                None,
                "{left}"
            );
        }
        assert_eq!(quota(&[("x-ratelimit-remaining", "0")]), None);
        let left = ("x-ratelimit-remaining", "0");
        for reset in ["NaN", "inf", "-inf", "-5", "1e400", "soon"] {
            let quota = quota(&[left, ("x-ratelimit-reset", reset)]).unwrap();
            assert!(quota <= 900, "{reset}");
        }
    }
}
