//! Estimate of the calls per day that a configuration makes to its providers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::domain::{Schedule, Source, SourceKind};

const DAY: Duration = Duration::from_secs(86_400);

/// Calls per day, rounded up. The free retry after a dead pooled connection is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct CallEstimate {
    /// By the schedule, while the first provider of each source answers in time.
    pub(super) scheduled: u64,
    /// By the schedule, while every provider before this one fails or is slow.
    pub(super) if_others_fail: u64,
    /// Upper bound with live requests. `None` if `min_interval` is zero: there is no bound.
    pub(super) at_most: Option<u64>,
}

/// The calls to one scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct OriginCalls {
    /// Origin of the URLs, such as `https://api.example.org`.
    pub(super) origin: String,
    /// Sum over all sources.
    pub(super) calls_per_day: CallEstimate,
}

/// Estimates the calls of one source to its provider at `rank` in the order of preference.
pub(super) fn estimate_provider_calls(schedule: &Schedule, rank: usize) -> CallEstimate {
    let scheduled = schedule.attempts_per_day();
    CallEstimate {
        scheduled: if rank == 0 { scheduled } else { 0 },
        if_others_fail: scheduled,
        // Live requests start attempts as often as `min_interval` allows.
        at_most: intervals_per_day(schedule.min_interval),
    }
}

/// Estimates the calls to each origin, in the order of the configuration.
pub(super) fn estimate_origin_calls(sources: &[Arc<Source>]) -> Vec<OriginCalls> {
    let mut origins: Vec<OriginCalls> = Vec::new();
    // A map, because thousands of sources may have as many origins.
    let mut positions = HashMap::new();
    for source in sources {
        let SourceKind::Fetched {
            providers,
            schedule,
        } = &source.kind
        else {
            continue;
        };
        for (rank, provider) in providers.iter().enumerate() {
            let origin = provider.request.url.origin().ascii_serialization();
            let calls_per_day = estimate_provider_calls(schedule, rank);
            let position = *positions.entry(origin.clone()).or_insert(origins.len());
            match origins.get_mut(position) {
                Some(known) => known.calls_per_day = known.calls_per_day.add_calls(calls_per_day),
                None => origins.push(OriginCalls {
                    origin,
                    calls_per_day,
                }),
            }
        }
    }
    origins
}

impl CallEstimate {
    fn add_calls(self, other: Self) -> Self {
        let at_most = self.at_most.zip(other.at_most);
        Self {
            scheduled: self.scheduled.saturating_add(other.scheduled),
            if_others_fail: self.if_others_fail.saturating_add(other.if_others_fail),
            at_most: at_most.map(|(one, other)| one.saturating_add(other)),
        }
    }
}

/// Returns how often `interval` fits into a day, rounded up; `None` if it is zero.
fn intervals_per_day(interval: Duration) -> Option<u64> {
    let millis = interval.as_millis();
    (millis > 0).then(|| u64::try_from(DAY.as_millis().div_ceil(millis)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(interval: u64, min_interval: u64) -> Schedule {
        let seconds = Duration::from_secs;
        Schedule {
            interval: seconds(interval),
            timeout: seconds(1),
            min_interval: seconds(min_interval),
            hedge_after: None,
        }
    }

    #[test]
    fn schedule_calls_first_provider() {
        let calls = |rank| estimate_provider_calls(&schedule(15, 2), rank);
        assert_eq!(
            calls(0),
            CallEstimate {
                scheduled: 5760,
                if_others_fail: 5760,
                at_most: Some(43_200)
            }
        );
        assert_eq!(
            calls(1),
            CallEstimate {
                scheduled: 0,
                if_others_fail: 5760,
                at_most: Some(43_200)
            }
        );
    }

    #[test]
    fn calls_are_rounded_up() {
        assert_eq!(
            estimate_provider_calls(&schedule(7, 7), 0).scheduled,
            12_343
        );
        assert_eq!(
            estimate_provider_calls(&schedule(10 * 86_400, 60), 0).scheduled,
            1
        );
        assert_eq!(estimate_provider_calls(&schedule(1, 0), 0).at_most, None);
    }

    #[test]
    fn min_interval_slows_schedule() {
        assert_eq!(estimate_provider_calls(&schedule(1, 60), 0).scheduled, 1440);
    }
}
