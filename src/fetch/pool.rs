//! Connections at rest, each ready for the same request again. They are only put here after clean framing.
//!
//! The same request, not the same server: a server that answers once more, unasked, just as the next request is on its
//! way, is taken to answer that one. Nobody can tell from the outside; but then it is at least an answer to what was
//! asked, and never one source's data, asked with its credentials, in another source's place.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::ProviderRequest;

use super::upstream_connection::ProviderConnection;

/// At rest for longer than this, a connection is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

/// At rest in all, so that thousands of sources do not hold thousands of descriptors. A new connection costs a third of a
/// call even where it needs no TLS.
const MAX_IDLE_CONNECTIONS: usize = 512;

/// The connections at rest.
#[derive(Default)]
pub(super) struct ConnectionPool(Mutex<IdleConnections>);

#[derive(Default)]
struct IdleConnections {
    connections: HashMap<ProviderRequest, Vec<(Instant, ProviderConnection)>>,
    count: usize,
    last_swept: Option<Instant>,
}

impl ConnectionPool {
    /// The connection that `request` went over last, if it is still alive.
    pub(super) fn take_idle(
        &self,
        request: &ProviderRequest,
        now: Instant,
    ) -> Option<ProviderConnection> {
        let mut idle = self.0.lock();
        idle.close_expired(now);
        loop {
            let (since, mut link) = idle.connections.get_mut(request)?.pop()?;
            idle.count -= 1;
            if now.saturating_duration_since(since) < MAX_IDLE_TIME && link.is_idle() {
                return Some(link);
            }
        }
    }

    /// Keeps `link` for the next time that `request` is sent, unless it cannot take one or there are enough.
    pub(super) fn put_idle(
        &self,
        request: &ProviderRequest,
        mut link: ProviderConnection,
        now: Instant,
    ) {
        if !link.is_idle() {
            return;
        }
        let mut idle = self.0.lock();
        idle.close_expired(now);
        if idle.count < MAX_IDLE_CONNECTIONS {
            idle.connections
                .entry(request.clone())
                .or_default()
                .push((now, link));
            idle.count += 1;
        }
    }

    /// Closes what rests for `request`.
    pub(super) fn close_for_request(&self, request: &ProviderRequest) {
        let mut idle = self.0.lock();
        idle.count -= idle
            .connections
            .remove(request)
            .map_or(0, |links| links.len());
    }
}

impl IdleConnections {
    /// Closes what the other side has closed or what has rested too long; looks at most twice per [`IDLE`], whoever
    /// comes by.
    fn close_expired(&mut self, now: Instant) {
        if self
            .last_swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < MAX_IDLE_TIME / 2)
        {
            return;
        }
        self.last_swept = Some(now);
        self.connections.retain(|_, links| {
            links.retain_mut(|(since, link)| {
                now.saturating_duration_since(*since) < MAX_IDLE_TIME && link.is_idle()
            });
            !links.is_empty()
        });
        self.count = self.connections.values().map(Vec::len).sum();
    }
}
