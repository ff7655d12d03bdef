//! Times of the attempts at a source.

use std::time::Duration;

use super::timestamp::Time;

/// Longest time for which a `Retry-After` holds back a provider.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// Maximum time for which a source waits because of the cache headers of a response.
pub const MAX_CACHE_LIFETIME: Duration = DAY;

/// Pause after the first failure; it doubles with each further consecutive failure.
const INITIAL_BACKOFF: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Pace and time limit of the attempts at a fetched source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Time between the starts of two scheduled attempts, before jitter. Default: 15 s.
    pub interval: Duration,
    /// Time limit of one attempt, from name lookup to extracted data. Default: 4 s; at most the
    /// interval.
    pub timeout: Duration,
    /// Minimum time between the starts of two flights, scheduled or live. Default: interval / 10,
    /// from 1 s to 1 min.
    pub min_interval: Duration,
    /// Delay after which the next provider is started beside one that has not responded. Default:
    /// `None`, the next provider is started only after a failure.
    pub hedge_after: Option<Duration>,
}

impl Schedule {
    /// Returns how many attempts are scheduled per day, rounded up, while none fails.
    pub fn attempts_per_day(&self) -> u64 {
        // `min_interval` may be the longer one; `check` warns about it.
        let pause = self.interval.max(self.min_interval).as_millis().max(1);
        u64::try_from(DAY.as_millis().div_ceil(pause)).unwrap_or(u64::MAX)
    }

    /// Returns the time from the start of an attempt to the start of the next one: the interval, or
    /// after `failures` consecutive failures `min(interval, 5 s · 2ⁿ⁻¹)`. `chance`, a random number
    /// from 0 to 1, spreads it over ±10 %.
    pub fn pause_after(&self, failures: u32, chance: f64) -> Duration {
        if failures == 0 {
            return with_jitter(self.interval, chance);
        }
        // 24 doublings exceed any interval and keep the multiplication within `Duration`.
        let doublings = (failures - 1).min(24);
        let backoff = INITIAL_BACKOFF * (1 << doublings);
        with_jitter(backoff.min(self.interval), chance)
    }

    /// Returns the time of the next attempt after one that began at `start`: not before
    /// `min_interval` has passed, nor before `held_until`.
    pub fn next_attempt(
        &self,
        start: Time,
        failures: u32,
        chance: f64,
        held_until: Option<Time>,
    ) -> Time {
        self.next_for_replicas(1, Duration::ZERO, start, failures, chance, held_until)
    }

    /// Returns the time of the next attempt for one of `replicas` that fetch independently. The
    /// pause is multiplied by `replicas`, so that together they make as many calls as a single one,
    /// but is short enough that a reading does not outlive `ttl` before the attempt finishes.
    pub fn next_for_replicas(
        &self,
        replicas: u32,
        ttl: Duration,
        start: Time,
        failures: u32,
        chance: f64,
        held_until: Option<Time>,
    ) -> Time {
        // 1.1 is the largest jitter: the longest pause and the next attempt fit into the ttl.
        let longest = ttl.saturating_sub(self.timeout).div_f64(1.1);
        let shared = self
            .pause_after(failures, 0.5)
            .saturating_mul(replicas)
            .min(longest);
        // Never shorter than the pause of a single replica, even if the ttl is short.
        let pause = with_jitter(shared, chance)
            .max(self.pause_after(failures, chance))
            .max(self.min_interval);
        let due = start.plus(pause);
        held_until.map_or(due, |held| due.max(held))
    }
}

/// Returns `pause` multiplied by 0.9 to 1.1, linear in `chance`.
fn with_jitter(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(4),
        min_interval: Duration::from_secs(1),
        hedge_after: None,
    };

    #[test]
    fn backoff_grows_to_the_interval() {
        let pauses: Vec<u64> = (0..=6)
            .map(|n| SCHEDULE.pause_after(n, 0.5).as_secs())
            .collect();
        assert_eq!(pauses, [60, 5, 10, 20, 40, 60, 60]);
        assert_eq!(SCHEDULE.pause_after(u32::MAX, 0.5).as_secs(), 60);
    }

    #[test]
    fn jitter_is_ten_percent() {
        assert_eq!(SCHEDULE.pause_after(0, 0.0).as_secs(), 54);
        assert_eq!(SCHEDULE.pause_after(0, 1.0).as_secs(), 66);
    }

    #[test]
    fn retry_after_only_delays_attempt() {
        let start = Time::from_millis(0);
        let next = |held: i64| {
            SCHEDULE
                .next_attempt(start, 1, 0.5, Some(Time::from_millis(held)))
                .as_millis()
        };
        assert_eq!(next(90_000), 90_000);
        assert_eq!(next(1_000), 5_000);
    }

    #[test]
    fn replica_pause_stays_within_ttl() {
        let next = |replicas, ttl, chance| {
            let ttl = Duration::from_secs(ttl);
            SCHEDULE
                .next_for_replicas(replicas, ttl, Time::from_millis(0), 0, chance, None)
                .as_millis()
        };
        assert_eq!(next(1, 124, 0.5), 60_000);
        assert_eq!(next(3, 1_000, 0.5), 180_000);
        assert_eq!(next(3, 1_000, 1.0), 198_000);
        for chance in [0.0, 0.5, 1.0] {
            assert!(
                (60_000..=120_000).contains(&next(10, 124, chance)),
                "{}",
                next(10, 124, chance)
            );
        }
        assert_eq!(next(10, 10, 0.5), 60_000, "never more often than one alone");
    }

    #[test]
    fn schedule_respects_min_interval() {
        let slow = Schedule {
            min_interval: Duration::from_secs(30),
            ..SCHEDULE
        };
        assert_eq!(
            slow.next_attempt(Time::from_millis(0), 1, 0.5, None)
                .as_millis(),
            30_000
        );
    }
}
