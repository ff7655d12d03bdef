//! The difference between this replica's clock and the store's.

use crate::domain::Time;

/// Differences up to this many milliseconds, beyond what the measurement itself is worth, are taken for none: replicas
/// whose clocks agree that well date a reading alike, to the millisecond, and so give it the same version.
const TOLERANCE_MS: i64 = 25;

/// By how many milliseconds the store's clock is ahead of this replica's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClockOffset(i64);

impl ClockOffset {
    /// This skew after one more measurement: the store said `micros` at some moment between `before` and `after`.
    pub(crate) fn with_measurement(self, before: Time, after: Time, micros: i64) -> Self {
        let (before, after) = (before.as_millis(), after.as_millis());
        let slack = after.saturating_sub(before) / 2 + 1;
        let offset = (micros / 1000).saturating_sub(before.saturating_add(slack - 1));
        if offset.saturating_sub(self.0).abs() <= TOLERANCE_MS + slack {
            self
        } else {
            Self(offset)
        }
    }

    /// An instant of the store's clock on this replica's, in the form that [`crate::domain::Saved::moved`] takes.
    pub(crate) fn to_local_ms(self) -> i64 {
        -self.0
    }

    /// An instant of this replica's clock on the store's.
    pub(crate) fn to_store_ms(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn clock_offset_ignores_jitter() {
        let none = ClockOffset::default();
        assert_eq!(
            none.with_measurement(time_at(1_000), time_at(1_002), 1_020_000),
            none
        );
        assert_eq!(
            none.with_measurement(time_at(1_000), time_at(1_200), 1_220_000),
            none,
            "as slow as that, it says little"
        );
        let hour = none.with_measurement(time_at(1_000), time_at(1_002), 3_601_001_000);
        assert_eq!(hour, ClockOffset(3_600_000));
        assert_eq!(
            hour.with_measurement(time_at(5_000), time_at(5_002), 3_605_021_000),
            hour
        );
        assert_eq!(
            hour.with_measurement(time_at(5_000), time_at(5_002), 5_001_000),
            none,
            "and it goes as it came"
        );
    }
}
