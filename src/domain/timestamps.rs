//! One instant as every clock of the machine told it, so that a later run can tell how long ago it was.

use std::time::Duration;

use super::timestamp::Time;

/// The noise of reading two clocks one after the other on a busy machine; smaller differences move nothing.
const CLOCK_NOISE_MS: i64 = 250;

/// One instant, on several clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockTimestamps {
    /// On the program's own clock, which dates all it knows: wall time at its start and what has passed since.
    pub program_time: Time,
    /// On the machine's wall clock, which may have been set since the program began.
    pub wall_time: Time,
    /// On the clock that nobody sets and that counts while the machine sleeps, if there is one.
    pub boot_uptime: Option<BootUptime>,
}

/// How long a machine has been up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootUptime {
    /// Which time it was started; another one means that `up` began anew.
    pub boot_id: String,
    /// Since then, sleep included.
    pub uptime: Duration,
}

impl ClockTimestamps {
    /// By how many milliseconds the instants of the run that ended at `self` must be moved to stand where they belong on
    /// the clock of the run that reads them at `now`.
    ///
    /// On the same boot of a machine that is known exactly, whatever happened to its wall clock. Otherwise the wall
    /// clock is all there is, less what it was set by during the former run; should it even stand before the end of that
    /// run, no time at all is taken to have passed between the two. So ages are never understated as far as can be known:
    /// by no more than the former run's absence, and only after a wall clock that was set back during it.
    pub fn clock_shift_ms(&self, now: &Self) -> i64 {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let shift = match (&self.boot_uptime, &now.boot_uptime) {
            (Some(then), Some(boot))
                if then.boot_id == boot.boot_id && then.uptime <= boot.uptime =>
            {
                let ended = now
                    .program_time
                    .as_millis()
                    .saturating_sub(millis(boot.uptime.saturating_sub(then.uptime)));
                ended.saturating_sub(self.program_time.as_millis())
            }
            _ => self
                .wall_time
                .min(now.program_time)
                .as_millis()
                .saturating_sub(self.program_time.as_millis()),
        };
        if shift.abs() < CLOCK_NOISE_MS {
            0
        } else {
            shift
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn timestamps(at: i64, wall: i64, boot: &str, up: i64) -> ClockTimestamps {
        let boot = BootUptime {
            boot_id: boot.into(),
            uptime: Duration::from_millis(up.unsigned_abs()),
        };
        ClockTimestamps {
            program_time: Time::from_millis(at),
            wall_time: Time::from_millis(wall),
            boot_uptime: Some(boot),
        }
    }

    #[test]
    fn shift_is_zero_for_steady_clocks() {
        let then = timestamps(100_000, 100_002, "a", 5_000);
        assert_eq!(
            then.clock_shift_ms(&timestamps(160_000, 160_000, "a", 65_001)),
            0
        );
        assert_eq!(
            then.clock_shift_ms(&timestamps(900_000, 900_000, "b", 10)),
            0
        );
    }

    #[test]
    fn same_boot_ignores_wall_step() {
        let then = timestamps(10 * HOUR, 10 * HOUR, "a", 5_000);
        for step in [-HOUR, HOUR] {
            let now = timestamps(
                10 * HOUR + 60_000 + step,
                10 * HOUR + 60_000 + step,
                "a",
                65_000,
            );
            assert_eq!(then.clock_shift_ms(&now), step);
        }
    }

    #[test]
    fn new_boot_clamps_future_times() {
        let then = timestamps(10 * HOUR, 10 * HOUR, "a", 5_000);
        assert_eq!(
            then.clock_shift_ms(&timestamps(9 * HOUR, 9 * HOUR, "b", 1)),
            -HOUR
        );
    }

    #[test]
    fn former_wall_step_is_undone() {
        let set_back = timestamps(10 * HOUR, 9 * HOUR, "a", 5_000);
        assert_eq!(
            set_back.clock_shift_ms(&timestamps(11 * HOUR, 11 * HOUR, "b", 1)),
            -HOUR
        );
        let set_forward = timestamps(10 * HOUR, 12 * HOUR, "a", 5_000);
        assert_eq!(
            set_forward.clock_shift_ms(&timestamps(13 * HOUR, 13 * HOUR, "b", 1)),
            2 * HOUR
        );
    }
}
