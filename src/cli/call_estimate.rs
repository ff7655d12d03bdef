//! How many calls a day a configuration costs its providers.

use std::time::Duration;

use crate::domain::{Schedule, Source, SourceKind};

const DAY: Duration = Duration::from_secs(86_400);

/// Calls a day, rounded up. A free retry on a connection that was already dead is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallEstimate {
    /// By the schedule, while the first provider of each source answers in time.
    pub(crate) scheduled: u64,
    /// By the schedule, when every provider before this one fails or is slow.
    pub(crate) if_others_fail: u64,
    /// With live requests as fast as they come; none: no bound, for `min_interval` is zero.
    pub(crate) at_most: Option<u64>,
}

/// The calls to everything at one scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginCalls {
    /// `https://api.example.org`
    pub(crate) origin: String,
    /// Of every source together.
    pub(crate) calls: CallEstimate,
}

/// What the provider at `rank` in the order of preference sees of one source.
pub(crate) fn estimate_provider_calls(pace: &Schedule, rank: usize) -> CallEstimate {
    let scheduled = intervals_per_day(pace.interval.max(pace.min_interval)).unwrap_or(0);
    CallEstimate {
        scheduled: if rank == 0 { scheduled } else { 0 },
        if_others_fail: scheduled,
        at_most: intervals_per_day(pace.min_interval),
    }
}

/// What each origin sees of all sources, in the order of the configuration.
pub(crate) fn estimate_origin_calls<'s>(
    sources: impl IntoIterator<Item = &'s Source>,
) -> Vec<OriginCalls> {
    let mut origins: Vec<OriginCalls> = Vec::new();
    let mut place = std::collections::HashMap::new();
    for source in sources {
        let SourceKind::Fetched {
            providers,
            schedule: pace,
        } = &source.kind
        else {
            continue;
        };
        for (rank, provider) in providers.iter().enumerate() {
            let origin = provider.request.url.origin().ascii_serialization();
            let calls = estimate_provider_calls(pace, rank);
            let index = *place.entry(origin.clone()).or_insert(origins.len());
            match origins.get_mut(index) {
                Some(known) => known.calls = known.calls.add_calls(calls),
                None => origins.push(OriginCalls { origin, calls }),
            }
        }
    }
    origins
}

impl CallEstimate {
    fn add_calls(self, other: Self) -> Self {
        Self {
            scheduled: self.scheduled.saturating_add(other.scheduled),
            if_others_fail: self.if_others_fail.saturating_add(other.if_others_fail),
            at_most: self
                .at_most
                .zip(other.at_most)
                .map(|(one, more)| one.saturating_add(more)),
        }
    }
}

/// How often `span` fits into a day, rounded up; none if it is nothing.
fn intervals_per_day(span: Duration) -> Option<u64> {
    let span = span.as_millis();
    (span > 0).then(|| u64::try_from(DAY.as_millis().div_ceil(span)).unwrap_or(u64::MAX))
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
