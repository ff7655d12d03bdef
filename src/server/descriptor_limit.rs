//! The number of connections that the process's descriptor limit allows.
//!
//! Some descriptors are reserved: with none left, the program could neither call a provider nor
//! look up a name nor save its state.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bounds of the reserve for everything except client connections. Between them it is a quarter of
/// the limit.
const MIN_RESERVED: u64 = 24;
const MAX_RESERVED: u64 = 512;

/// Assumed number of open descriptors at the start where `/proc` is not available.
const ASSUMED_OPEN: u64 = 32;

/// Raises the process's soft limit to its hard limit. Returns `max_connections`, or fewer if the
/// limit allows fewer.
pub(super) fn connection_limit(max_connections: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // If the system refuses, the old limit still holds and is read below.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let Some(descriptors) = getrlimit(Resource::Nofile).current else {
        return max_connections;
    };
    let open = fs::read_dir("/proc/self/fd").map_or(ASSUMED_OPEN, |open| open.count() as u64);
    let connections = limit_connections(max_connections, descriptors, open);
    if connections < max_connections {
        tracing::warn!(
            connections,
            max_connections,
            descriptors,
            "connection limit lowered to fit the descriptor limit"
        );
    }
    connections
}

fn limit_connections(max_connections: usize, descriptors: u64, open: u64) -> usize {
    let reserved = (descriptors / 4).clamp(MIN_RESERVED, MAX_RESERVED);
    let available = descriptors
        .saturating_sub(open)
        .saturating_sub(reserved)
        .max(1);
    max_connections.min(usize::try_from(available).unwrap_or(usize::MAX))
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
