//! When a source is asked again.

use std::time::Duration;

use super::source::Schedule;
use super::timestamp::Time;

/// The first pause after a failure; it doubles with each further one.
const INITIAL_BACKOFF: Duration = Duration::from_secs(5);

impl Schedule {
    /// How long after the start of an attempt the next one is due: the interval, or after the `failures`-th failure in
    /// a row `min(interval, 5 s · 2ⁿ⁻¹)`. `chance` is a random number from 0 to 1 that spreads it over ±10 %.
    pub fn pause_after(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(24);
        let backoff = INITIAL_BACKOFF * (1 << doublings);
        let pause = if failures == 0 {
            self.interval
        } else {
            backoff.min(self.interval)
        };
        pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
    }

    /// When the next attempt is due after one that began at `start`: never before `min_interval` has passed, nor
    /// before `held_until`.
    pub fn next_attempt(
        &self,
        start: Time,
        failures: u32,
        chance: f64,
        held_until: Option<Time>,
    ) -> Time {
        self.next_for_replicas(1, Duration::ZERO, start, failures, chance, held_until)
    }

    /// The same for one of `replicas` that each ask by themselves: the pause is that many times as long, so that
    /// together they ask as often as one would, but never so long that a reading outlives `ttl` by it.
    pub fn next_for_replicas(
        &self,
        replicas: u32,
        ttl: Duration,
        start: Time,
        failures: u32,
        chance: f64,
        held_until: Option<Time>,
    ) -> Time {
        let one = self.pause_after(failures, chance);
        // Less the jitter, so that even the longest pause and the attempt after it fit into the ttl.
        let most = ttl.saturating_sub(self.timeout).div_f64(1.1);
        let pause = self
            .pause_after(failures, 0.5)
            .saturating_mul(replicas)
            .min(most);
        let pause = pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0)).max(one);
        let due = start.plus(pause.max(self.min_interval));
        held_until.map_or(due, |held| due.max(held))
    }
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
