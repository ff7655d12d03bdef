//! One instant as every clock of the machine told it, so that a later run can tell how long ago it was.

use std::time::Duration;

use super::Time;

/// The noise of reading two clocks one after the other on a busy machine; smaller differences move nothing.
const NOISE_MS: i64 = 250;

/// One instant, on several clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// On the program's own clock, which dates all it knows: wall time at its start and what has passed since.
    pub at: Time,
    /// On the machine's wall clock, which may have been set since the program began.
    pub wall: Time,
    /// On the clock that nobody sets and that counts while the machine sleeps, if there is one.
    pub boot: Option<SinceBoot>,
}

/// How long a machine has been up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinceBoot {
    /// Which time it was started; another one means that `up` began anew.
    pub id: String,
    /// Since then, sleep included.
    pub up: Duration,
}

impl Moment {
    /// By how many milliseconds the instants of the run that ended at `self` must be moved to stand where they belong on
    /// the clock of the run that reads them at `now`.
    ///
    /// On the same boot of a machine that is known exactly, whatever happened to its wall clock. Otherwise the wall
    /// clock is all there is, less what it was set by during the former run; should it even stand before the end of that
    /// run, no time at all is taken to have passed between the two. So ages are never understated as far as can be known:
    /// by no more than the former run's absence, and only after a wall clock that was set back during it.
    pub fn shift_to(&self, now: &Self) -> i64 {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let shift = match (&self.boot, &now.boot) {
            (Some(then), Some(boot)) if then.id == boot.id && then.up <= boot.up => {
                let ended = now
                    .at
                    .as_millis()
                    .saturating_sub(millis(boot.up.saturating_sub(then.up)));
                ended.saturating_sub(self.at.as_millis())
            }
            _ => self
                .wall
                .min(now.at)
                .as_millis()
                .saturating_sub(self.at.as_millis()),
        };
        if shift.abs() < NOISE_MS { 0 } else { shift }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn moment(at: i64, wall: i64, boot: &str, up: i64) -> Moment {
        let boot = SinceBoot {
            id: boot.into(),
            up: Duration::from_millis(up.unsigned_abs()),
        };
        Moment {
            at: Time::from_millis(at),
            wall: Time::from_millis(wall),
            boot: Some(boot),
        }
    }

    #[test]
    fn nothing_moves_when_no_clock_was_set() {
        let then = moment(100_000, 100_002, "a", 5_000);
        assert_eq!(then.shift_to(&moment(160_000, 160_000, "a", 65_001)), 0);
        assert_eq!(then.shift_to(&moment(900_000, 900_000, "b", 10)), 0);
    }

    #[test]
    fn on_the_same_boot_a_step_of_the_wall_clock_changes_no_age() {
        let then = moment(10 * HOUR, 10 * HOUR, "a", 5_000);
        for step in [-HOUR, HOUR] {
            let now = moment(
                10 * HOUR + 60_000 + step,
                10 * HOUR + 60_000 + step,
                "a",
                65_000,
            );
            assert_eq!(then.shift_to(&now), step);
        }
    }

    #[test]
    fn after_another_boot_the_future_becomes_the_present() {
        let then = moment(10 * HOUR, 10 * HOUR, "a", 5_000);
        assert_eq!(then.shift_to(&moment(9 * HOUR, 9 * HOUR, "b", 1)), -HOUR);
    }

    #[test]
    fn a_step_during_the_former_run_is_taken_back() {
        let set_back = moment(10 * HOUR, 9 * HOUR, "a", 5_000);
        assert_eq!(
            set_back.shift_to(&moment(11 * HOUR, 11 * HOUR, "b", 1)),
            -HOUR
        );
        let set_forward = moment(10 * HOUR, 12 * HOUR, "a", 5_000);
        assert_eq!(
            set_forward.shift_to(&moment(13 * HOUR, 13 * HOUR, "b", 1)),
            2 * HOUR
        );
    }
}
