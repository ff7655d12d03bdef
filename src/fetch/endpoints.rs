//! Clients by host and port: selection of the client of a call, and closing of idle clients.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::domain::{Failure, Name};
use crate::process::Clock;

use super::call_limiter::CallLimiter;
use super::client::{CallTarget, ClientFactory, ClientSettings, Endpoint, UpstreamClient};

/// Time for which a client is kept after its last call.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// A client is kept longer if a call to its host and port is due within this time.
const KEEP_AHEAD: Duration = Duration::from_secs(5);

/// Time after its due time for which a call is still expected.
const LATE_CALL_TIME: Duration = Duration::from_secs(1);

/// Clients by host and port. Calls with equal [`ClientSettings`] share clients: HTTP/2 calls one client
/// and its connection, HTTP/1 calls one after the other.
pub(super) struct Endpoints {
    factory: ClientFactory,
    clock: Clock,
    max_per_host: Arc<AtomicUsize>,
    states: Mutex<HashMap<Endpoint, EndpointState>>,
    /// Notified when a client becomes idle.
    idle: Arc<Notify>,
}

struct EndpointState {
    limiter: Arc<CallLimiter>,
    clients: HashMap<ClientSettings, Vec<Arc<UpstreamClient>>>,
    /// When the next call of each source is due.
    expected_calls: HashMap<Name, Instant>,
}

/// Use of a client by one call.
pub(super) struct ClientLease {
    endpoints: Arc<Endpoints>,
    target: CallTarget,
    client: Arc<UpstreamClient>,
}

impl Endpoints {
    pub(super) fn new(
        factory: ClientFactory,
        clock: Clock,
        max_per_host: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            factory,
            clock,
            max_per_host,
            states: Mutex::default(),
            idle: Arc::default(),
        }
    }

    /// Returns the limiter of calls to `endpoint`.
    pub(super) fn limiter(&self, endpoint: &Endpoint) -> Arc<CallLimiter> {
        let mut endpoints = self.states.lock();
        Arc::clone(&self.state_of(&mut endpoints, endpoint).limiter)
    }

    /// Returns the client for `target`, and builds it if there is none.
    pub(super) fn lease_client(
        self: &Arc<Self>,
        target: &CallTarget,
    ) -> Result<ClientLease, Failure> {
        let now = self.clock.instant();
        let mut closed = Vec::new();
        let mut endpoints = self.states.lock();
        let state = self.state_of(&mut endpoints, &target.endpoint);
        let protocol = state.limiter.protocol();
        let client = state.clients.get(&target.settings).and_then(|clients| {
            // The newest connections are used again, so that the others become idle and close.
            let can_use = |client: &&Arc<UpstreamClient>| client.can_begin_call(protocol);
            clients.iter().rev().find(can_use).cloned()
        });
        if client.is_none() || !target.settings.is_pooled {
            // The call opens a connection. A server that serves one connection at a time accepts it
            // only after the idle ones are closed.
            let used = client.as_ref().map(Arc::as_ptr);
            let keep = |other: &UpstreamClient| {
                other.idle_since().is_none() || used == Some(std::ptr::from_ref(other))
            };
            state.remove_clients(keep, &mut closed);
        }
        let client = if let Some(client) = client {
            client
        } else {
            let limiter = Arc::clone(&state.limiter);
            let client = Arc::new(self.factory.build(&target.settings, limiter, now)?);
            let clients = state.clients.entry(target.settings.clone()).or_default();
            clients.push(Arc::clone(&client));
            client
        };
        client.begin_call(now);
        // Dropping a client runs code of several crates, which must not happen under the lock.
        drop(endpoints);
        drop(closed);
        Ok(ClientLease {
            endpoints: Arc::clone(self),
            target: target.clone(),
            client,
        })
    }

    /// Records when the next call of `source` to `endpoint` is due.
    pub(super) fn expect_call(&self, source: &Name, endpoint: &Endpoint, at: Instant) {
        let mut states = self.states.lock();
        let state = self.state_of(&mut states, endpoint);
        state.expected_calls.insert(source.clone(), at);
    }

    fn state_of<'e>(
        &self,
        endpoints: &'e mut HashMap<Endpoint, EndpointState>,
        endpoint: &Endpoint,
    ) -> &'e mut EndpointState {
        endpoints
            .entry(endpoint.clone())
            .or_insert_with(|| EndpointState {
                limiter: CallLimiter::new(Arc::clone(&self.max_per_host)),
                clients: HashMap::new(),
                expected_calls: HashMap::new(),
            })
    }

    /// Closes idle clients as they become due, until the endpoints are dropped.
    pub(super) async fn close_idle_clients(endpoints: Weak<Self>) {
        let Some(idle) = endpoints
            .upgrade()
            .map(|endpoints| Arc::clone(&endpoints.idle))
        else {
            return;
        };
        loop {
            // Upgraded for one round only, so that this task does not keep the clients alive.
            let Some(next) = endpoints
                .upgrade()
                .map(|endpoints| endpoints.close_idle(endpoints.clock.instant()))
            else {
                return;
            };
            match next {
                Some(at) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = idle.notified() => {}
                    }
                }
                None => idle.notified().await,
            }
        }
    }

    /// Closes the clients whose time has passed at `now`. Returns when the next one may be closed;
    /// `None` if no client is idle.
    fn close_idle(&self, now: Instant) -> Option<Instant> {
        let mut closed = Vec::new();
        let mut next: Option<Instant> = None;
        let mut endpoints = self.states.lock();
        endpoints.retain(|_, state| {
            state
                .expected_calls
                .retain(|_, at| *at + LATE_CALL_TIME > now);
            // A new TLS connection costs more than an idle one that waits for a call in a few
            // seconds.
            let due = state.expected_calls.values().min().copied();
            // A running call can be waiting for the place of an idle connection.
            let is_busy = state.has_running_calls();
            let kept_until = due
                .filter(|due| !is_busy && *due <= now + KEEP_AHEAD)
                .map(|due| due + LATE_CALL_TIME);
            let keep = |client: &UpstreamClient| {
                let Some(since) = client.idle_since() else {
                    return true;
                };
                let until = (since + IDLE_TIME).max(kept_until.unwrap_or(now));
                if until > now {
                    next = Some(next.map_or(until, |next| next.min(until)));
                }
                until > now
            };
            state.remove_clients(keep, &mut closed);
            // A waiting or running call holds the limiter; a second one would not know its count.
            let is_used = Arc::strong_count(&state.limiter) > 1;
            is_used || !state.clients.is_empty() || !state.expected_calls.is_empty()
        });
        drop(endpoints);
        drop(closed);
        next
    }
}

impl EndpointState {
    /// Moves the clients that are not kept to `removed`.
    fn remove_clients(
        &mut self,
        mut keep: impl FnMut(&UpstreamClient) -> bool,
        removed: &mut Vec<Arc<UpstreamClient>>,
    ) {
        self.clients.retain(|_, clients| {
            removed.extend(clients.extract_if(.., |client| !keep(client)));
            !clients.is_empty()
        });
    }

    fn has_running_calls(&self) -> bool {
        let mut clients = self.clients.values().flatten();
        clients.any(|client| client.idle_since().is_none())
    }
}

impl ClientLease {
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client.client
    }

    /// Removes the client, so that no further call uses it; its connections close when the current
    /// calls end. Closes the idle connections to the host and port.
    pub(super) fn discard_client(&self) {
        let mut removed = Vec::new();
        let mut endpoints = self.endpoints.states.lock();
        if let Some(state) = endpoints.get_mut(&self.target.endpoint) {
            // What broke this connection, a restart or a broken route, has broken the idle ones too.
            let keep = |client: &UpstreamClient| {
                client.idle_since().is_none() && !std::ptr::eq(client, Arc::as_ptr(&self.client))
            };
            state.remove_clients(keep, &mut removed);
        }
        drop(endpoints);
        drop(removed);
    }
}

impl Drop for ClientLease {
    fn drop(&mut self) {
        if self.client.end_call(self.endpoints.clock.instant()) {
            self.endpoints.idle.notify_one();
        }
    }
}
