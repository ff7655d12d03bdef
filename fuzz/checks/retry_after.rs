//! The parser of `Retry-After`: a delay is at most the maximum and never zero; whole seconds give
//! their number.

use resumen::domain::{MAX_RETRY_AFTER, Time};
use resumen::fetch::parse_retry_after;

/// Panics if the result for `bytes` is wrong. The input is a value, optionally followed by a
/// newline and the `Date` of the response.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (value, date) = text
        .split_once('\n')
        .map_or((&*text, None), |(value, date)| (value, Some(date)));
    let now = Time::from_millis(784_111_777_000);
    let delay = parse_retry_after(value, date, now);
    assert!(
        delay.is_none_or(|delay| delay <= MAX_RETRY_AFTER && !delay.is_zero()),
        "{delay:?}"
    );
    if let Ok(seconds) = value.trim().parse::<u64>()
        && !value.trim().starts_with('+')
    {
        let expected = seconds.min(MAX_RETRY_AFTER.as_secs());
        assert_eq!(delay.map_or(0, |delay| delay.as_secs()), expected);
    }
}
