//! How many connections the process's limit on descriptors leaves room for.
//!
//! Clients must not take the last descriptor: providers are asked, names looked up and state saved with what is left.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for everything else: a quarter of the limit, within these bounds.
const LEAST_KEPT: u64 = 24;
const MOST_KEPT: u64 = 512;

/// Taken for open at the start where the system does not tell.
const GUESS: u64 = 32;

/// Raises the process's soft limit as far as it may, and gives the connections of `wanted` that fit.
pub(super) fn room(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // A system that refuses leaves the limit that there is.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return wanted;
    };
    let open = fs::read_dir("/proc/self/fd").map_or(GUESS, |open| open.count() as u64);
    let room = fit(wanted, limit, open);
    if room < wanted {
        tracing::warn!(
            room,
            wanted,
            limit,
            "the limit on descriptors leaves room for fewer connections"
        );
    }
    room
}

fn fit(wanted: usize, limit: u64, open: u64) -> usize {
    let kept = (limit / 4).clamp(LEAST_KEPT, MOST_KEPT);
    let left = limit.saturating_sub(open).saturating_sub(kept).max(1);
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_program_keeps_its_share() {
        assert_eq!(fit(10_000, 1 << 20, 20), 10_000);
        assert_eq!(fit(10_000, 1024, 24), 744);
        assert_eq!(fit(10_000, 64, 20), 20);
        assert_eq!(fit(10_000, 16, 20), 1);
        assert_eq!(fit(5, 1024, 24), 5);
    }
}
