//! The schedule and freshness of a source: inheritance from `[defaults]`, and defaults that depend on the interval.

use std::time::Duration;

use crate::config::loader::ConfigLoader;
use crate::config::table::Table;
use crate::domain::{FreshnessPolicy, Schedule};
use crate::text::{UnitStyle, format_duration};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The keys whose values are compared with each other.
const RELATED_KEYS: [&str; 5] = ["interval", "timeout", "ttl", "max_stale", "min_interval"];

/// The schedule and the freshness policy of a source.
pub(super) fn validate_timing(
    source: &Table,
    defaults: &Table,
    loader: &mut ConfigLoader<'_>,
) -> (Schedule, FreshnessPolicy) {
    let inherited = |key| {
        let written = source.duration(key).or_else(|| defaults.duration(key));
        written.map(|written| written.value)
    };
    let interval = inherited("interval").unwrap_or(DEFAULT_INTERVAL);
    let timeout = inherited("timeout")
        .unwrap_or(DEFAULT_TIMEOUT)
        // An inherited or default timeout must not outlast a short interval.
        .min(interval);
    let min_interval = inherited("min_interval");
    let schedule = Schedule {
        interval,
        timeout,
        min_interval: min_interval.unwrap_or((interval / 10).clamp(SECOND, MINUTE)),
        hedge_after: inherited("hedge_after"),
    };
    let freshness = FreshnessPolicy {
        // One missed attempt does not make a reading stale.
        ttl: inherited("ttl").unwrap_or(2 * interval + timeout),
        max_stale: inherited("max_stale").unwrap_or((4 * interval).max(HOUR)),
    };
    // A default in the place of an invalid value would cause further problems.
    let is_invalid = |key: &&str| source.is_invalid(key) || defaults.is_invalid(key);
    if !RELATED_KEYS.iter().any(is_invalid) {
        check_relations(source, &schedule, &freshness, loader);
    }
    (schedule, freshness)
}

/// Compares the durations of a source. A problem stands at a key of the source, never at one of `[defaults]`.
fn check_relations(
    source: &Table,
    schedule: &Schedule,
    freshness: &FreshnessPolicy,
    loader: &mut ConfigLoader<'_>,
) {
    let text = |duration| format_duration(duration, UnitStyle::Syntax);
    let name = &source.name.value;
    let interval = text(schedule.interval);
    if let Some(timeout) = source.duration("timeout")
        && timeout.value > schedule.interval
    {
        let timeout_text = text(timeout.value);
        let message =
            format!("the timeout {timeout_text} of source `{name}` is longer than its interval");
        let help = format!("expected at most its interval, {interval}");
        loader.error(timeout.span, &message, help);
    }
    let own_interval = source.duration("interval");
    if let Some(written) = source.duration("min_interval").or(own_interval)
        && schedule.min_interval > schedule.interval
    {
        let least = text(schedule.min_interval);
        let message = format!(
            "the interval {interval} of source `{name}` is shorter than its min_interval {least}"
        );
        loader.warning(
            written.span,
            &message,
            format!("attempts start every {least}"),
        );
    }
    if let Some(written) = source.duration("ttl").or(own_interval)
        && freshness.ttl < schedule.interval
    {
        let ttl = text(freshness.ttl);
        let message =
            format!("the ttl {ttl} of source `{name}` is shorter than its interval {interval}");
        let help = "its reading is stale before the next attempt, even without a failure";
        loader.warning(written.span, &message, help);
    }
    if let Some(hedge) = source.duration("hedge_after")
        && hedge.value >= schedule.timeout
    {
        let message = format!(
            "hedge_after {} of source `{name}` has no effect",
            text(hedge.value)
        );
        let help = format!(
            "an attempt ends after its timeout, {}",
            text(schedule.timeout)
        );
        loader.warning(hedge.span, &message, help);
    }
}
