//! One moment as read from several clocks, and the shift between the clocks of two runs.

use std::time::Duration;

use super::timestamp::Time;

/// Shifts below this limit are zero: two clocks read one after the other on a busy machine differ
/// by up to this many milliseconds.
const CLOCK_NOISE_MS: i64 = 250;

/// One moment as read from several clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockTimestamps {
    /// Time of the program's clock, which dates all its data: the wall-clock time at the start plus
    /// the time elapsed since.
    pub program_time: Time,
    /// Time of the machine's wall clock, which may have been set since the start of the program.
    pub wall_time: Time,
    /// Time since the boot of the machine. `None` if the system has no clock for it.
    pub boot_uptime: Option<BootUptime>,
}

/// Time since the boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootUptime {
    /// Identifier of the boot. Uptimes are comparable only within one boot.
    pub boot_id: String,
    /// Time since that boot, including the time that the machine slept.
    pub uptime: Duration,
}

impl ClockTimestamps {
    /// Returns the milliseconds to add to the times of the run that ended at `self` to obtain times
    /// of the run that reads them at `now`.
    ///
    /// Within one boot the uptimes give the exact shift regardless of changes of the wall clock.
    /// Otherwise the shift is the adjustment of the wall clock during the former run; if the wall
    /// clock is now before the end of that run, no time is assumed to have passed in between. So an
    /// age is understated at most by the time between the runs, and only if the wall clock was set
    /// back during it.
    pub fn clock_shift_ms(&self, now: &Self) -> i64 {
        let same_boot = self
            .boot_uptime
            .as_ref()
            .zip(now.boot_uptime.as_ref())
            .filter(|(then, now)| then.boot_id == now.boot_id && then.uptime <= now.uptime);
        // The end of the former run on the clock of this run.
        let ended = match same_boot {
            Some((then, now_boot)) => now
                .program_time
                .minus(now_boot.uptime.saturating_sub(then.uptime)),
            None => self.wall_time.min(now.program_time),
        };
        let shift = ended
            .as_millis()
            .saturating_sub(self.program_time.as_millis());
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

    fn timestamps(program: i64, wall: i64, boot_id: &str, uptime: i64) -> ClockTimestamps {
        let boot = BootUptime {
            boot_id: boot_id.into(),
            uptime: Duration::from_millis(uptime.unsigned_abs()),
        };
        ClockTimestamps {
            program_time: Time::from_millis(program),
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
