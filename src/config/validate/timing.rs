//! When and how much: `[defaults]` → source, and the defaults that follow from the interval.

use std::time::Duration;

use crate::config::ConfigLoader;
use crate::config::SpannedValue;
use crate::config::format_duration as text;
use crate::config::{RawSource, RawTiming};
use crate::domain::{FreshnessPolicy, Schedule};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);
const DEFAULT_MAX_BODY: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Everything that a source inherits but its proxy.
pub(crate) struct SourceTiming {
    pub(crate) schedule: Schedule,
    pub(crate) freshness_policy: FreshnessPolicy,
    pub(crate) max_body: u64,
}

/// What holds for a source.
pub(crate) fn resolve_timing(
    defaults: &RawTiming,
    source: &RawSource,
    cx: &mut ConfigLoader<'_>,
) -> SourceTiming {
    let own = &source.timing;
    let interval = inherit_value(own.interval.as_ref(), defaults.interval.as_ref())
        .unwrap_or(DEFAULT_INTERVAL);
    let timeout = inherit_value(own.timeout.as_ref(), defaults.timeout.as_ref())
        .unwrap_or(DEFAULT_TIMEOUT)
        .min(interval);
    let ttl =
        inherit_value(own.ttl.as_ref(), defaults.ttl.as_ref()).unwrap_or(2 * interval + timeout);
    let max_stale = inherit_value(own.max_stale.as_ref(), defaults.max_stale.as_ref());
    let max_stale = max_stale.unwrap_or((4 * interval).max(HOUR));
    let min_interval = inherit_value(own.min_interval.as_ref(), defaults.min_interval.as_ref());
    let min_interval = min_interval.unwrap_or((interval / 10).clamp(SECOND, MINUTE));
    let hedge_after = source.hedge_after.as_ref().map(|spot| spot.value);
    let pace = Schedule {
        interval,
        timeout,
        min_interval,
        hedge_after,
    };
    let shelf = FreshnessPolicy { ttl, max_stale };
    if !own.has_invalid_duration && !defaults.has_invalid_duration {
        check_timing_relations(source, &pace, &shelf, cx);
    }
    let max_body = inherit_value(own.max_body.as_ref(), defaults.max_body.as_ref())
        .unwrap_or(DEFAULT_MAX_BODY);
    SourceTiming {
        schedule: pace,
        freshness_policy: shelf,
        max_body,
    }
}

fn inherit_value<T: Copy>(
    own: Option<&SpannedValue<T>>,
    default: Option<&SpannedValue<T>>,
) -> Option<T> {
    own.or(default).map(|spot| spot.value)
}

/// What one duration of a source says about another.
fn check_timing_relations(
    source: &RawSource,
    pace: &Schedule,
    shelf: &FreshnessPolicy,
    cx: &mut ConfigLoader<'_>,
) {
    let name = &source.name.value;
    let own = &source.timing;
    let interval = text(pace.interval);
    if let Some(timeout) = own
        .timeout
        .as_ref()
        .filter(|timeout| timeout.value > pace.interval)
    {
        let message = format!(
            "the timeout {} of source `{name}` is longer than its interval",
            text(timeout.value)
        );
        cx.problems.add_error(
            &timeout.span,
            message,
            format!("expected at most its interval, {interval}"),
        );
    }
    let paced = own.min_interval.as_ref().or(own.interval.as_ref());
    if let Some(spot) = paced.filter(|_| pace.min_interval > pace.interval) {
        let least = text(pace.min_interval);
        let message = format!(
            "the interval {interval} of source `{name}` is shorter than its min_interval {least}"
        );
        cx.problems
            .add_warning(&spot.span, message, format!("attempts start every {least}"));
    }
    let kept = own.ttl.as_ref().or(own.interval.as_ref());
    if let Some(spot) = kept.filter(|_| shelf.ttl < pace.interval) {
        let message = format!(
            "the ttl {} of source `{name}` is shorter than its interval {interval}",
            text(shelf.ttl)
        );
        cx.problems.add_warning(
            &spot.span,
            message,
            "its data is stale before the next attempt, even if all goes well",
        );
    }
    if let Some(hedge) = source
        .hedge_after
        .as_ref()
        .filter(|hedge| hedge.value >= pace.timeout)
    {
        let message = format!(
            "hedge_after {} of source `{name}` has no effect",
            text(hedge.value)
        );
        cx.problems.add_warning(
            &hedge.span,
            message,
            format!("an attempt ends by its timeout, {}", text(pace.timeout)),
        );
    }
}
