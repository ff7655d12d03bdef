//! How many connections the process's limit on descriptors leaves room for.
//!
//! Clients must not take the last descriptor: providers are asked, names looked up and state saved with what is left.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for everything else: a quarter of the limit, within these bounds.
const MIN_RESERVED: u64 = 24;
const MAX_RESERVED: u64 = 512;

/// Taken for open at the start where the system does not tell.
const ASSUMED_OPEN: u64 = 32;

/// Raises the process's soft limit as far as it may, and gives the connections of `wanted` that fit.
pub(crate) fn connection_limit(wanted: usize) -> usize {
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
    let open = fs::read_dir("/proc/self/fd").map_or(ASSUMED_OPEN, |open| open.count() as u64);
    let room = limit_connections(wanted, limit, open);
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

fn limit_connections(wanted: usize, limit: u64, open: u64) -> usize {
    let kept = (limit / 4).clamp(MIN_RESERVED, MAX_RESERVED);
    let left = limit.saturating_sub(open).saturating_sub(kept).max(1);
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved() {
        assert_eq!(limit_connections(10_000, 1 << 20, 20), 10_000);
        assert_eq!(limit_connections(10_000, 1024, 24), 744);
        assert_eq!(limit_connections(10_000, 64, 20), 20);
        assert_eq!(limit_connections(10_000, 16, 20), 1);
        assert_eq!(limit_connections(5, 1024, 24), 5);
    }
}
