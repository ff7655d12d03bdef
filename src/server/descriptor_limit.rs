//! The number of connections that the process's descriptors and the container's memory allow.
//!
//! Some descriptors are reserved: with none left, the program could neither call a provider nor
//! look up a name nor save its state.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ServerSettings;
use crate::process::container_memory_limit;

use super::connection_places::reserve_of;

/// Bounds of the reserve for everything except client connections. Between them it is a quarter of
/// the limit.
const MIN_RESERVED: u64 = 24;
const MAX_RESERVED: u64 = 512;

/// Assumed number of open descriptors at the start where `/proc` is not available.
const ASSUMED_OPEN: u64 = 32;

/// What one connection takes at most, in bytes, beside what the send budget counts: its state, and the
/// kernel's socket.
const CONNECTION_BYTES: u64 = 8 << 10;

/// What the session of TLS takes beside it, in bytes.
const TLS_BYTES: u64 = 8 << 10;

/// The part of a container's memory limit that connections may take beside the send budget.
const CONTAINER_PART: u64 = 16;

/// How many connections the service takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Regular places of the main listener.
    pub(crate) connections: usize,
    /// Places in each reserve.
    pub(super) reserve: usize,
}

/// Returns `max_connections`, or fewer if the descriptors or the memory allow fewer, which a warning tells.
pub(super) fn connection_limits(settings: &ServerSettings) -> ConnectionLimits {
    let ServerSettings {
        max_connections, ..
    } = *settings;
    // The listener of `admin_listen` has as many places as a reserve, and a reserve.
    let reserve_count = if settings.admin_listen.is_some() {
        3
    } else {
        1
    };
    let connection_bytes = CONNECTION_BYTES + settings.tls.as_ref().map_or(0, |_| TLS_BYTES);
    let fitting = limit_by_memory(max_connections, connection_bytes, container_memory_limit());
    // The default is meant to fit, so only a number that someone chose is worth a warning.
    if fitting < max_connections && max_connections != ServerSettings::default().max_connections {
        tracing::warn!(
            connections = fitting,
            max_connections,
            "connection limit lowered to fit the container's memory limit"
        );
    }
    let (connections, reserve) = limit_by_descriptors(fitting, reserve_count);
    ConnectionLimits {
        connections,
        reserve,
    }
}

fn limit_by_memory(
    max_connections: usize,
    connection_bytes: u64,
    container_limit: Option<u64>,
) -> usize {
    let fitting =
        container_limit.map_or(u64::MAX, |limit| limit / CONTAINER_PART / connection_bytes);
    max_connections.min(usize::try_from(fitting).unwrap_or(usize::MAX).max(1))
}

/// Raises the process's soft limit to its hard limit. Returns `max_connections`, or fewer if the
/// limit allows fewer, and the number of places in each reserve beside them.
fn limit_by_descriptors(max_connections: usize, reserve_count: usize) -> (usize, usize) {
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
        return (max_connections, reserve_of(usize::MAX));
    };
    let open = fs::read_dir("/proc/self/fd").map_or(ASSUMED_OPEN, |open| open.count() as u64);
    let (connections, reserve) =
        limit_connections(max_connections, reserve_count, descriptors, open);
    if connections < max_connections {
        tracing::warn!(
            connections,
            max_connections,
            descriptors,
            "connection limit lowered to fit the descriptor limit"
        );
    }
    (connections, reserve)
}

fn limit_connections(
    max_connections: usize,
    reserve_count: usize,
    descriptors: u64,
    open: u64,
) -> (usize, usize) {
    let reserved = (descriptors / 4).clamp(MIN_RESERVED, MAX_RESERVED);
    let available = descriptors
        .saturating_sub(open)
        .saturating_sub(reserved)
        .max(1);
    let available = usize::try_from(available).unwrap_or(usize::MAX);
    let reserve = reserve_of(available);
    let regular = available.saturating_sub(reserve_count * reserve).max(1);
    (max_connections.min(regular), reserve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_connections() {
        assert_eq!(limit_by_memory(10_000, 8192, None), 10_000);
        assert_eq!(limit_by_memory(10_000, 8192, Some(128 << 20)), 1024);
        assert_eq!(limit_by_memory(10_000, 16_384, Some(128 << 20)), 512);
        assert_eq!(limit_by_memory(1_000, 8192, Some(128 << 20)), 1_000);
        assert_eq!(limit_by_memory(10_000, 8192, Some(2 << 30)), 10_000);
        assert_eq!(limit_by_memory(10_000, 8192, Some(4096)), 1);
    }

    #[test]
    fn descriptors_are_reserved() {
        assert_eq!(limit_connections(10_000, 1, 1 << 20, 20), (10_000, 128));
        assert_eq!(limit_connections(10_000, 1, 1024, 24), (651, 93));
        assert_eq!(limit_connections(10_000, 3, 1024, 24), (465, 93));
        assert_eq!(limit_connections(10_000, 1, 64, 20), (16, 4));
        assert_eq!(limit_connections(10_000, 1, 16, 20), (1, 4));
        assert_eq!(limit_connections(5, 1, 1024, 24), (5, 93));
    }
}
