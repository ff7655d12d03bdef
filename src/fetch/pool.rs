//! Connections at rest, each ready for the same request again. They are only put here after clean framing.
//!
//! The same request, not the same server: a server that answers once more, unasked, just as the next request is on its
//! way, is taken to answer that one. Nobody can tell from the outside; but then it is at least an answer to what was
//! asked, and never one source's data, asked with its credentials, in another source's place.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Request;

use super::link::Link;

/// At rest for longer than this, a connection is closed.
const IDLE: Duration = Duration::from_secs(60);

/// At rest in all, so that thousands of sources do not hold thousands of descriptors. A new connection costs a third of a
/// call even where it needs no TLS.
const IN_ALL: usize = 512;

/// The connections at rest.
#[derive(Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    links: HashMap<Request, Vec<(Instant, Link)>>,
    count: usize,
    swept: Option<Instant>,
}

impl Pool {
    /// The connection that `request` went over last, if it is still alive.
    pub(super) fn take(&self, request: &Request, now: Instant) -> Option<Link> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        loop {
            let (since, mut link) = idle.links.get_mut(request)?.pop()?;
            idle.count -= 1;
            if now.saturating_duration_since(since) < IDLE && link.is_idle() {
                return Some(link);
            }
        }
    }

    /// Keeps `link` for the next time that `request` is sent, unless it cannot take one or there are enough.
    pub(super) fn put(&self, request: &Request, mut link: Link, now: Instant) {
        if !link.is_idle() {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        if idle.count < IN_ALL {
            idle.links
                .entry(request.clone())
                .or_default()
                .push((now, link));
            idle.count += 1;
        }
    }

    /// Closes what rests for `request`.
    pub(super) fn forget(&self, request: &Request) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.count -= idle.links.remove(request).map_or(0, |links| links.len());
    }
}

impl Idle {
    /// Closes what the other side has closed or what has rested too long; looks at most twice per [`IDLE`], whoever
    /// comes by.
    fn sweep(&mut self, now: Instant) {
        if self
            .swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < IDLE / 2)
        {
            return;
        }
        self.swept = Some(now);
        self.links.retain(|_, links| {
            links.retain_mut(|(since, link)| {
                now.saturating_duration_since(*since) < IDLE && link.is_idle()
            });
            !links.is_empty()
        });
        self.count = self.links.values().map(Vec::len).sum();
    }
}
