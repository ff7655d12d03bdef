//! `Retry-After`: never longer than the longest hold, never nothing, and whole seconds are taken by their number.

use resumen::domain::Time;
use resumen::fetch::{MAX_RETRY_AFTER, parse_retry_after};

/// Panics if anything is wrong with these bytes: a value, and after a newline the answer's `Date`.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (value, date) = text
        .split_once('\n')
        .map_or((&*text, None), |(value, date)| (value, Some(date)));
    let now = Time::from_millis(784_111_777_000);
    let held = parse_retry_after(value, date, now);
    assert!(
        held.is_none_or(|held| held <= MAX_RETRY_AFTER && !held.is_zero()),
        "{held:?}"
    );
    if let Ok(seconds) = value.trim().parse::<u64>()
        && !value.trim().starts_with('+')
    {
        let asked = seconds.min(MAX_RETRY_AFTER.as_secs());
        assert_eq!(held.map_or(0, |held| held.as_secs()), asked);
    }
}
