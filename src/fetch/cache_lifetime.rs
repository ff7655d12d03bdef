//! How long a provider says that its response stays valid (RFC 9111, section 4.2).

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

use crate::domain::{MAX_CACHE_LIFETIME, Time};

use super::retry_after::parse_date_delay;

/// Returns the time left until the response expires: `max-age` − `Age`, else `Expires` − `Date`, at most
/// [`MAX_CACHE_LIFETIME`]. `None` if it has expired, must not be stored or reused, or has no valid limit.
pub(super) fn remaining_lifetime(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let directives = cache_directives(headers);
    let is_unusable = |(name, _): &(String, String)| matches!(&**name, "no-store" | "no-cache");
    if directives.iter().any(is_unusable) {
        return None;
    }
    let max_age = directives.iter().find(|(name, _)| name == "max-age");
    let lifetime = if let Some((_, seconds)) = max_age {
        let age = header_text(headers, AGE).and_then(parse_delta_seconds);
        parse_delta_seconds(seconds)?.saturating_sub(age.unwrap_or_default())
    } else {
        // An invalid date, such as `0`, means that the response has expired.
        parse_date_delay(
            header_text(headers, EXPIRES)?,
            header_text(headers, DATE),
            now,
        )?
    };
    Some(lifetime.min(MAX_CACHE_LIFETIME)).filter(|lifetime| !lifetime.is_zero())
}

/// Returns the directives of `Cache-Control`: names in lower case, values without quotes.
fn cache_directives(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let value = value.trim().trim_matches('"');
            (name.trim().to_ascii_lowercase(), value.to_owned())
        })
        .collect()
}

/// Parses whole seconds (RFC 9111, section 1.2.2).
fn parse_delta_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Only digits are left, so the parse fails by overflow alone.
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn lifetime(headers: &[(HeaderName, &'static str)]) -> Option<u64> {
        let pairs = headers.iter().cloned();
        let headers = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        // Sat, 28 Nov 2026 08:00:00 GMT
        let now = Time::from_millis(1_795_852_800_000);
        remaining_lifetime(&map, now).map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn max_age_is_reduced_by_age() {
        assert_eq!(
            lifetime(&[(CACHE_CONTROL, "public, max-age=600")]),
            Some(600)
        );
        assert_eq!(
            lifetime(&[(CACHE_CONTROL, "MAX-AGE=\"600\""), (AGE, " 100")]),
            Some(500)
        );
        assert_eq!(
            lifetime(&[(CACHE_CONTROL, "max-age=600"), (AGE, "601")]),
            None
        );
        assert_eq!(
            lifetime(&[(CACHE_CONTROL, "max-age=600"), (AGE, "-1")]),
            Some(600)
        );
        assert_eq!(
            lifetime(&[(CACHE_CONTROL, "max-age=99999999999999999999")]),
            Some(86_400)
        );
        assert_eq!(lifetime(&[(CACHE_CONTROL, "max-age=0")]), None);
        assert_eq!(lifetime(&[(CACHE_CONTROL, "max-age=soon")]), None);
    }

    #[test]
    fn expires_counts_from_the_date() {
        let date = (DATE, "Sat, 28 Nov 2026 07:00:00 GMT");
        let expires = (EXPIRES, "Sat, 28 Nov 2026 08:10:00 GMT");
        assert_eq!(lifetime(&[date.clone(), expires.clone()]), Some(4_200));
        assert_eq!(lifetime(std::slice::from_ref(&expires)), Some(600));
        assert_eq!(lifetime(&[(EXPIRES, "0")]), None);
        let max_age = (CACHE_CONTROL, "max-age=5");
        assert_eq!(lifetime(&[date, expires, max_age]), Some(5));
    }

    #[test]
    fn response_that_must_not_be_reused_has_no_lifetime() {
        for directive in ["no-store", "No-Cache", "private, no-cache=\"x\""] {
            let headers = [(CACHE_CONTROL, directive), (CACHE_CONTROL, "max-age=600")];
            assert_eq!(lifetime(&headers), None, "{directive}");
        }
        assert_eq!(lifetime(&[]), None);
    }
}
