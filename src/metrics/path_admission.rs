//! Which paths of a source become series of `resumen_value`, and which series of its own metrics are exported.
//!
//! A provider chooses the paths and the values of labels, and a monitoring system keeps a series for each one that it ever saw.
//! So a source may have many paths at first, and new ones slowly.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::Time;

/// Paths that a source may have at first.
const INITIAL_PATHS: u32 = 1000;

/// Further paths in an hour.
const HOURLY_PATHS: u32 = 100;

/// Time for which a path without a number is remembered. Its series has ended by then, and its return counts
/// as new.
const PATH_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Time in which one further path is allowed.
const PATH_INTERVAL: Duration = Duration::from_secs(3600 / HOURLY_PATHS as u64);

/// The admitted paths of one source.
#[derive(Debug)]
pub(super) struct PathAdmission {
    /// When each admitted path last had a number.
    last_seen: HashMap<String, Time>,
    /// How many new paths are allowed now.
    allowance: u32,
    /// Until when the allowance has grown.
    grown_until: Time,
}

impl PathAdmission {
    /// Allows the first paths at `now`.
    pub(super) fn new(now: Time) -> Self {
        Self {
            last_seen: HashMap::new(),
            allowance: INITIAL_PATHS,
            grown_until: now,
        }
    }

    /// Removes the items whose path is not admitted at `now`. Returns how many. An item without a path stays.
    pub(super) fn retain_admitted<T>(
        &mut self,
        items: &mut Vec<T>,
        now: Time,
        path_of: impl Fn(&T) -> Option<&str>,
    ) -> usize {
        self.grow_allowance(now);
        self.last_seen
            .retain(|_, seen| now.since(*seen) < PATH_MEMORY);
        let all = items.len();
        items.retain(|item| path_of(item).is_none_or(|path| self.admit(path, now)));
        all - items.len()
    }

    fn admit(&mut self, path: &str, now: Time) -> bool {
        if let Some(seen) = self.last_seen.get_mut(path) {
            *seen = now;
            return true;
        }
        if self.allowance == 0 {
            return false;
        }
        self.allowance -= 1;
        self.last_seen.insert(path.to_owned(), now);
        true
    }

    /// Adds what the time since the last call allows. What is left of the first paths stays, but does not grow.
    fn grow_allowance(&mut self, now: Time) {
        let intervals = now.since(self.grown_until).as_secs() / PATH_INTERVAL.as_secs();
        let grown = u32::try_from(intervals).unwrap_or(u32::MAX);
        if self.allowance < HOURLY_PATHS {
            self.allowance = self.allowance.saturating_add(grown).min(HOURLY_PATHS);
        }
        self.grown_until = self.grown_until.plus(PATH_INTERVAL.saturating_mul(grown));
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    const HOUR: u64 = 3600;

    /// The numbers that are admitted of paths with these numbers, so many seconds after the start.
    fn admitted(admission: &mut PathAdmission, paths: Range<u32>, at: u64) -> usize {
        let mut numbers: Vec<_> = paths.map(|n| (format!("p{n}"), f64::from(n))).collect();
        let all = numbers.len();
        let removed = admission.retain_admitted(&mut numbers, time_at(at), |(path, _)| Some(path));
        assert_eq!(all, numbers.len() + removed);
        numbers.len()
    }

    fn time_at(seconds: u64) -> Time {
        Time::from_millis(1_795_330_510_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn new_paths_are_admitted_slowly() {
        let mut admission = PathAdmission::new(time_at(0));
        assert_eq!(admitted(&mut admission, 0..600, 0), 600);
        assert_eq!(admitted(&mut admission, 0..2000, 1), 1000);
        // The same paths again, in any number of readings.
        assert_eq!(admitted(&mut admission, 0..2000, 35), 1000);
        assert_eq!(admitted(&mut admission, 0..2000, 36), 1001);
        assert_eq!(admitted(&mut admission, 0..2000, HOUR), 1100);
        // A longer time allows no more than an hour.
        assert_eq!(admitted(&mut admission, 0..2000, 9 * HOUR), 1200);
    }

    #[test]
    fn first_paths_need_not_come_at_once() {
        let mut admission = PathAdmission::new(time_at(0));
        assert_eq!(admitted(&mut admission, 0..10, 0), 10);
        assert_eq!(admitted(&mut admission, 0..2000, 12 * HOUR), 1000);
    }

    #[test]
    fn unseen_paths_are_forgotten() {
        let mut admission = PathAdmission::new(time_at(0));
        assert_eq!(admitted(&mut admission, 0..1000, 0), 1000);
        assert_eq!(admitted(&mut admission, 0..1, 23 * HOUR), 1);
        assert_eq!(admitted(&mut admission, 0..1000, 24 * HOUR), 101);
        // Changing paths, hour by hour for a month.
        for hour in 1..720 {
            let first = 2000 + hour * 500;
            let at = (24 + u64::from(hour)) * HOUR;
            assert_eq!(admitted(&mut admission, first..first + 500, at), 100);
            assert!(admission.last_seen.len() <= 24 * 100 + 101);
        }
    }

    #[test]
    fn clock_that_goes_back_admits_nothing() {
        let mut admission = PathAdmission::new(time_at(HOUR));
        assert_eq!(admitted(&mut admission, 0..1000, HOUR), 1000);
        assert_eq!(admitted(&mut admission, 0..1100, 0), 1000);
    }
}
