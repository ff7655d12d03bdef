//! Connections at rest, ready for another request to the same target. They are only put here after clean framing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Target;
use super::link::Link;

/// At rest for longer than this, a connection is closed.
const IDLE: Duration = Duration::from_secs(60);

/// At rest in all, so that thousands of sources do not hold thousands of descriptors. A target of many sources may have
/// as many as it was asked over at once: a live answer asks for all of them together, and a new connection costs a
/// third of a call even where it needs no TLS.
const IN_ALL: usize = 512;

/// The connections at rest.
#[derive(Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    links: HashMap<Target, Vec<(Instant, Link)>>,
    count: usize,
    swept: Option<Instant>,
}

impl Pool {
    /// The connection to `target` that was used last, if it is still alive.
    pub(super) fn take(&self, target: &Target, now: Instant) -> Option<Link> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        loop {
            let (since, mut link) = idle.links.get_mut(target)?.pop()?;
            idle.count -= 1;
            if now.saturating_duration_since(since) < IDLE && link.is_idle() {
                return Some(link);
            }
        }
    }

    /// Keeps `link` for the next request to `target`, unless it cannot take one or there are enough.
    pub(super) fn put(&self, target: Target, mut link: Link, now: Instant) {
        if !link.is_idle() {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        if idle.count < IN_ALL {
            idle.links.entry(target).or_default().push((now, link));
            idle.count += 1;
        }
    }

    /// Closes what rests for `target`.
    pub(super) fn forget(&self, target: &Target) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.count -= idle.links.remove(target).map_or(0, |links| links.len());
    }
}

impl Idle {
    /// Closes what the other side has closed or what has rested too long; looks at most twice per [`IDLE`], whoever
    /// comes by.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < IDLE / 2) {
            return;
        }
        self.swept = Some(now);
        self.links.retain(|_, links| {
            links.retain_mut(|(since, link)| now.saturating_duration_since(*since) < IDLE && link.is_idle());
            !links.is_empty()
        });
        self.count = self.links.values().map(Vec::len).sum();
    }
}
