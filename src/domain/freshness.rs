//! How old is too old: pure questions with the time passed in.

use std::time::Duration;

use super::timestamp::Time;

/// Whether a reading may be used, and how gladly. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// age ≤ ttl
    Fresh,
    /// ttl < age ≤ ttl + `max_stale`
    Stale,
    /// no reading, or an older one
    Missing,
}

impl Freshness {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

/// The shelf life of a source's readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FreshnessPolicy {
    /// How long a reading is fresh.
    pub ttl: Duration,
    /// How long after that it may still be used.
    pub max_stale: Duration,
}

impl FreshnessPolicy {
    /// How fresh a reading of `fetched_at` is at `now`. One from the future counts as brand new.
    pub fn freshness_at(&self, fetched_at: Time, now: Time) -> Freshness {
        let age = now.since(fetched_at);
        if age <= self.ttl {
            Freshness::Fresh
        } else if age <= self.ttl.saturating_add(self.max_stale) {
            Freshness::Stale
        } else {
            Freshness::Missing
        }
    }

    /// Milliseconds of freshness left at `now` (ttl − age), negative once stale.
    pub fn remaining_ms(&self, fetched_at: Time, now: Time) -> i64 {
        let age = i64::try_from(now.since(fetched_at).as_millis()).unwrap_or(i64::MAX);
        i64::try_from(self.ttl.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_sub(age)
    }

    /// The last instant at which the judgement of `now` still holds; none once it is missing.
    pub fn unchanged_until(&self, fetched_at: Time, now: Time) -> Option<Time> {
        match self.freshness_at(fetched_at, now) {
            Freshness::Fresh => Some(fetched_at.plus(self.ttl)),
            Freshness::Stale => Some(fetched_at.plus(self.ttl.saturating_add(self.max_stale))),
            Freshness::Missing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: FreshnessPolicy = FreshnessPolicy {
        ttl: Duration::from_secs(10),
        max_stale: Duration::from_secs(60),
    };

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn freshness_bounds_are_inclusive() {
        let judge = |ms| POLICY.freshness_at(at(0), Time::from_millis(ms));
        assert_eq!(judge(10_000), Freshness::Fresh);
        assert_eq!(judge(10_001), Freshness::Stale);
        assert_eq!(judge(70_000), Freshness::Stale);
        assert_eq!(judge(70_001), Freshness::Missing);
        assert_eq!(judge(-5), Freshness::Fresh);
    }

    #[test]
    fn freshness_holds_until_its_bound() {
        assert_eq!(POLICY.unchanged_until(at(0), at(3)), Some(at(10)));
        assert_eq!(POLICY.unchanged_until(at(0), at(11)), Some(at(70)));
        assert_eq!(POLICY.unchanged_until(at(0), at(71)), None);
    }
}
