//! The difference between the times inside of the program and those that it outputs.

use super::instant_text::format_rfc3339;
use super::timestamp::Time;

/// Milliseconds to add to a time of the program's clock, which never steps, to obtain the time of the
/// wall clock. Everything that leaves the program is shifted by it, so that instants follow the wall
/// clock while ages and schedules do not notice that it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockShift(i64);

impl ClockShift {
    /// Returns a shift by `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the time of the wall clock at `time` of the program's clock.
    pub const fn apply(self, time: Time) -> Time {
        Time::from_millis(time.as_millis().saturating_add(self.0))
    }

    /// Returns the time of the wall clock at `time` of the program's clock, as RFC 3339.
    pub fn format(self, time: Time) -> String {
        format_rfc3339(self.apply(time))
    }
}
