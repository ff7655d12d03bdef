//! Freshness of a reading by its age.

use std::time::Duration;

use super::timestamp::{Time, saturating_millis};

/// Freshness of a reading, ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// age ≤ `ttl`
    Fresh,
    /// `ttl` < age ≤ `ttl` + `max_stale`
    Stale,
    /// No reading, or age > `ttl` + `max_stale`.
    Missing,
}

impl Freshness {
    /// Returns the text of the state in responses and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

/// Time limits that decide the freshness of a source's readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FreshnessPolicy {
    /// Age up to which a reading is fresh. Default: 2 × interval + timeout.
    pub ttl: Duration,
    /// Further age up to which a reading is served as stale. Default: 4 × interval, at least 1 h.
    pub max_stale: Duration,
}

impl FreshnessPolicy {
    /// Returns the freshness at `now` of a reading fetched at `fetched_at`. A reading from the
    /// future has age zero.
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

    /// Returns `ttl` − age at `now`, in milliseconds; negative once the reading is stale.
    pub fn remaining_ms(&self, fetched_at: Time, now: Time) -> i64 {
        saturating_millis(self.ttl).saturating_sub(saturating_millis(now.since(fetched_at)))
    }

    /// Returns the last instant with the same freshness as `now`; `None` if the reading is missing.
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
        let freshness = |ms| POLICY.freshness_at(at(0), Time::from_millis(ms));
        assert_eq!(freshness(10_000), Freshness::Fresh);
        assert_eq!(freshness(10_001), Freshness::Stale);
        assert_eq!(freshness(70_000), Freshness::Stale);
        assert_eq!(freshness(70_001), Freshness::Missing);
        assert_eq!(freshness(-5), Freshness::Fresh);
    }

    #[test]
    fn freshness_holds_until_its_bound() {
        assert_eq!(POLICY.unchanged_until(at(0), at(3)), Some(at(10)));
        assert_eq!(POLICY.unchanged_until(at(0), at(11)), Some(at(70)));
        assert_eq!(POLICY.unchanged_until(at(0), at(71)), None);
    }
}
