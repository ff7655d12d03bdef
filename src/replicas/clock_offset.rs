//! The offset between the clock of this replica and the one of the shared store.

use crate::domain::Time;

/// Smaller offsets, in milliseconds, count as none, beyond the uncertainty of the measurement:
/// replicas whose clocks agree this well date a reading alike and give it the same version.
const TOLERANCE_MS: i64 = 25;

/// Milliseconds by which the clock of the store is ahead of the clock of this replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ClockOffset(i64);

impl ClockOffset {
    /// Returns the offset after a measurement: the store's clock showed `store_time_us` at some
    /// moment between `before` and `after`. A change within the tolerance is ignored.
    pub(super) fn with_measurement(self, before: Time, after: Time, store_time_us: i64) -> Self {
        let (before, after) = (before.as_millis(), after.as_millis());
        let uncertainty = after.saturating_sub(before) / 2 + 1;
        let middle = before.saturating_add(uncertainty - 1);
        let offset = (store_time_us / 1000).saturating_sub(middle);
        if offset.saturating_sub(self.0).abs() <= TOLERANCE_MS + uncertainty {
            self
        } else {
            Self(offset)
        }
    }

    /// Returns the milliseconds to add to a time of the store's clock.
    pub(super) fn to_local_ms(self) -> i64 {
        -self.0
    }

    /// Returns the milliseconds to add to a time of this replica's clock.
    pub(super) fn to_store_ms(self) -> i64 {
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
            "a slow measurement is uncertain"
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
            "the offset is gone"
        );
    }
}
