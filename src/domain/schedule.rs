//! When a source is asked again.

use std::time::Duration;

use super::{Pace, Time};

/// The first pause after a failure; it doubles with each further one.
const QUICK_RETRY: Duration = Duration::from_secs(5);

impl Pace {
    /// How long after the start of an attempt the next one is due: the interval, or after the `failures`-th failure in
    /// a row `min(interval, 5 s · 2ⁿ⁻¹)`. `chance` is a random number from 0 to 1 that spreads it over ±10 %.
    pub fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(24);
        let backoff = QUICK_RETRY * (1 << doublings);
        let pause = if failures == 0 { self.interval } else { backoff.min(self.interval) };
        pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
    }

    /// When the next attempt is due after one that began at `start`: never before `min_interval` has passed, nor
    /// before `held_until`.
    pub fn next(&self, start: Time, failures: u32, chance: f64, held_until: Option<Time>) -> Time {
        let due = start.after(self.pause(failures, chance).max(self.min_interval));
        held_until.map_or(due, |held| due.max(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(4),
        min_interval: Duration::from_secs(1),
        hedge_after: None,
    };

    #[test]
    fn failures_are_retried_quickly_and_then_at_the_interval() {
        let pauses: Vec<u64> = (0..=6).map(|n| PACE.pause(n, 0.5).as_secs()).collect();
        assert_eq!(pauses, [60, 5, 10, 20, 40, 60, 60]);
        assert_eq!(PACE.pause(u32::MAX, 0.5).as_secs(), 60);
    }

    #[test]
    fn jitter_is_ten_percent_to_either_side() {
        assert_eq!(PACE.pause(0, 0.0).as_secs(), 54);
        assert_eq!(PACE.pause(0, 1.0).as_secs(), 66);
    }

    #[test]
    fn retry_after_moves_the_next_attempt_and_never_hastens_it() {
        let start = Time::from_millis(0);
        let next = |held: i64| PACE.next(start, 1, 0.5, Some(Time::from_millis(held))).as_millis();
        assert_eq!(next(90_000), 90_000);
        assert_eq!(next(1_000), 5_000);
    }

    #[test]
    fn the_schedule_respects_the_least_interval() {
        let slow = Pace { min_interval: Duration::from_secs(30), ..PACE };
        assert_eq!(slow.next(Time::from_millis(0), 1, 0.5, None).as_millis(), 30_000);
    }
}
