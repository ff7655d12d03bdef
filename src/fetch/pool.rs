//! Pool of idle connections, each kept for the request that it last carried. A connection enters
//! the pool only after a response with valid framing.
//!
//! The key is the request, not the server. An additional response that arrives while the next
//! request is sent is indistinguishable from the response to that request. With this key it is at
//! least a response to the same request, never the data of another source.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::ProviderRequest;

use super::upstream_connection::ProviderConnection;

/// Maximum idle time of a connection.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

/// Maximum number of idle connections, which limits the open descriptors with thousands of sources.
/// A new connection, even without TLS, costs a third of a call.
const MAX_IDLE_CONNECTIONS: usize = 512;

/// Idle connections by request.
#[derive(Default)]
pub(super) struct ConnectionPool(Mutex<IdleConnections>);

#[derive(Default)]
struct IdleConnections {
    connections: HashMap<ProviderRequest, Vec<(Instant, ProviderConnection)>>,
    count: usize,
    last_swept: Option<Instant>,
}

impl ConnectionPool {
    /// Takes an idle connection that last carried `request` and is still open.
    pub(super) fn take_idle(
        &self,
        request: &ProviderRequest,
        now: Instant,
    ) -> Option<ProviderConnection> {
        let mut idle = self.0.lock();
        idle.close_expired(now);
        loop {
            let (since, mut connection) = idle.connections.get_mut(request)?.pop()?;
            idle.count -= 1;
            if now.saturating_duration_since(since) < MAX_IDLE_TIME && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` for the next send of `request`, unless it is not reusable or the pool is
    /// full.
    pub(super) fn put_idle(
        &self,
        request: &ProviderRequest,
        mut connection: ProviderConnection,
        now: Instant,
    ) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.0.lock();
        idle.close_expired(now);
        if idle.count < MAX_IDLE_CONNECTIONS {
            idle.connections
                .entry(request.clone())
                .or_default()
                .push((now, connection));
            idle.count += 1;
        }
    }

    /// Closes the idle connections of `request`.
    pub(super) fn close_for_request(&self, request: &ProviderRequest) {
        let mut idle = self.0.lock();
        idle.count -= idle
            .connections
            .remove(request)
            .map_or(0, |connections| connections.len());
    }
}

impl IdleConnections {
    /// Drops connections that are closed or idle for too long, at most twice per [`MAX_IDLE_TIME`].
    fn close_expired(&mut self, now: Instant) {
        if self
            .last_swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < MAX_IDLE_TIME / 2)
        {
            return;
        }
        self.last_swept = Some(now);
        self.connections.retain(|_, connections| {
            connections.retain_mut(|(since, connection)| {
                now.saturating_duration_since(*since) < MAX_IDLE_TIME && connection.is_idle()
            });
            !connections.is_empty()
        });
        self.count = self.connections.values().map(Vec::len).sum();
    }
}
