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

use super::call_limiter::{CallLimiter, Protocol};
use super::client::{ClientFactory, ClientSettings, Endpoint, UpstreamClient};
use super::resolver::NameResolver;

/// Time for which a client is kept after its last call.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// A client is kept longer if a call to its host and port is due within this time.
const KEEP_AHEAD: Duration = Duration::from_secs(5);

/// Time after its due time for which a call is still expected.
const LATE_CALL_TIME: Duration = Duration::from_secs(1);

/// The hosts and ports that are called.
pub(super) struct Endpoints {
    factory: ClientFactory,
    clock: Clock,
    max_per_host: Arc<AtomicUsize>,
    states: Mutex<HashMap<Endpoint, Arc<EndpointState>>>,
    /// Notified when a call ends, for the case that all clients were in use.
    idle: Arc<Notify>,
}

/// Calls to one host and port, and their clients.
pub(super) struct EndpointState {
    pub(super) limiter: Arc<CallLimiter>,
    clients: Mutex<EndpointClients>,
}

/// Calls with equal [`ClientSettings`] share clients: HTTP/2 calls one client and its connection,
/// HTTP/1 calls one after the other.
#[derive(Default)]
struct EndpointClients {
    /// Clients that a call can use. One that serves a single call at a time is removed for its call.
    /// A list, because a host has few different settings, whose hash would cover certificates.
    available: Vec<Arc<UpstreamClient>>,
    running_calls: usize,
    /// When the next call of each source is due.
    expected_calls: HashMap<Name, Instant>,
}

/// Use of a client by one call.
pub(super) struct ClientLease {
    endpoints: Arc<Endpoints>,
    state: Arc<EndpointState>,
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

    /// Returns the resolver of the clients.
    pub(super) fn resolver(&self) -> &NameResolver {
        &self.factory.resolver
    }

    /// Returns the state of `endpoint`.
    pub(super) fn state(&self, endpoint: &Endpoint) -> Arc<EndpointState> {
        let mut states = self.states.lock();
        if let Some(state) = states.get(endpoint) {
            return Arc::clone(state);
        }
        let state = Arc::new(EndpointState {
            limiter: CallLimiter::new(Arc::clone(&self.max_per_host)),
            clients: Mutex::default(),
        });
        states.insert(endpoint.clone(), Arc::clone(&state));
        state
    }

    /// Returns a client with `settings`, and builds it if there is none.
    pub(super) fn lease_client(
        self: &Arc<Self>,
        state: &Arc<EndpointState>,
        settings: &ClientSettings,
    ) -> Result<ClientLease, Failure> {
        let now = self.clock.instant();
        let mut closed = Vec::new();
        let mut clients = state.clients.lock();
        let client = if let Some(client) = clients.take(settings, state.limiter.protocol()) {
            client
        } else {
            // The call opens a connection. A server that serves one connection at a time accepts it
            // only after the idle ones are closed.
            clients.remove_idle(|_| false, &mut closed);
            let limiter = Arc::clone(&state.limiter);
            let client = Arc::new(self.factory.build(settings, limiter, now)?);
            if settings.may_share() {
                clients.make_available(&client);
            }
            client
        };
        client.begin_call(now);
        clients.running_calls += 1;
        // Dropping a client runs code of several crates, which must not happen under the lock.
        drop(clients);
        drop(closed);
        Ok(ClientLease {
            endpoints: Arc::clone(self),
            state: Arc::clone(state),
            client,
        })
    }

    /// Records when the next call of `source` to `endpoint` is due.
    pub(super) fn expect_call(&self, source: &Name, endpoint: &Endpoint, at: Instant) {
        let state = self.state(endpoint);
        let mut clients = state.clients.lock();
        clients.expected_calls.insert(source.clone(), at);
    }

    /// Closes idle clients as they become due, until the endpoints are dropped.
    pub(super) fn close_idle_clients(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let (endpoints, idle) = (Arc::downgrade(self), Arc::clone(&self.idle));
        Self::run_closing(endpoints, idle)
    }

    async fn run_closing(endpoints: Weak<Self>, idle: Arc<Notify>) {
        while let Some(endpoints) = endpoints.upgrade() {
            let now = endpoints.clock.instant();
            let next = endpoints.close_idle(now);
            drop(endpoints);
            match next {
                // No notification for each call: a client that becomes idle during the sleep is kept
                // for at least this long.
                Some(at) => sleep_until(at.min(now + IDLE_TIME)).await,
                None => idle.notified().await,
            }
        }
    }

    /// Closes the clients whose time has passed at `now`. Returns when the next one may be closed;
    /// `None` if no client is idle.
    fn close_idle(&self, now: Instant) -> Option<Instant> {
        let mut closed = Vec::new();
        let mut next: Option<Instant> = None;
        let mut states = self.states.lock();
        states.retain(|_, state| {
            let mut clients = state.clients.lock();
            clients
                .expected_calls
                .retain(|_, at| *at + LATE_CALL_TIME > now);
            // A new TLS connection costs more than an idle one that waits for a call in a few
            // seconds. But a running call can be waiting for the place of an idle connection.
            let due = clients.expected_calls.values().min().copied();
            let kept_until = due
                .filter(|due| clients.running_calls == 0 && *due <= now + KEEP_AHEAD)
                .map(|due| due + LATE_CALL_TIME);
            let keep = |since: Instant| {
                let until = (since + IDLE_TIME).max(kept_until.unwrap_or(now));
                if until > now {
                    next = Some(next.map_or(until, |next| next.min(until)));
                }
                until > now
            };
            clients.remove_idle(keep, &mut closed);
            // A waiting or running call holds the state; a second one would not know its count.
            let is_used = Arc::strong_count(state) > 1;
            is_used || !clients.available.is_empty() || !clients.expected_calls.is_empty()
        });
        drop(states);
        drop(closed);
        next
    }
}

impl EndpointClients {
    /// Returns a client with `settings` for one more call.
    fn take(
        &mut self,
        settings: &ClientSettings,
        protocol: Option<Protocol>,
    ) -> Option<Arc<UpstreamClient>> {
        let fits = |client: &Arc<UpstreamClient>| client.settings == *settings;
        if settings.may_share() && protocol != Some(Protocol::Http1) {
            return self.available.iter().rfind(|client| fits(client)).cloned();
        }
        // The newest connection is used again, so that the others become idle and close.
        let is_idle = |client: &Arc<UpstreamClient>| client.idle_since().is_some();
        let position = self
            .available
            .iter()
            .rposition(|client| is_idle(client) && fits(client))?;
        Some(self.available.remove(position))
    }

    /// Moves idle clients to `removed`, unless `keep` returns true for the end of their last call.
    fn remove_idle(
        &mut self,
        mut keep: impl FnMut(Instant) -> bool,
        removed: &mut Vec<Arc<UpstreamClient>>,
    ) {
        let mut is_kept = |client: &UpstreamClient| client.idle_since().is_none_or(&mut keep);
        removed.extend(self.available.extract_if(.., |client| !is_kept(client)));
    }

    /// Adds `client`, unless it is among the available ones.
    fn make_available(&mut self, client: &Arc<UpstreamClient>) {
        let is_same = |other: &Arc<UpstreamClient>| Arc::ptr_eq(other, client);
        if !self.available.iter().any(is_same) {
            self.available.push(Arc::clone(client));
        }
    }
}

impl ClientLease {
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client.client
    }

    /// Removes the client, so that no further call uses it; its connections close when the current
    /// calls end. Closes the idle connections to the host and port: what broke this one, a restart or
    /// a broken route, has broken them too.
    pub(super) fn discard_client(&self) {
        self.client.discard();
        let mut removed = Vec::new();
        let mut clients = self.state.clients.lock();
        clients.remove_idle(|_| false, &mut removed);
        let is_other = |client: &Arc<UpstreamClient>| !Arc::ptr_eq(client, &self.client);
        clients.available.retain(is_other);
        drop(clients);
        drop(removed);
    }
}

impl Drop for ClientLease {
    fn drop(&mut self) {
        let mut clients = self.state.clients.lock();
        clients.running_calls -= 1;
        let is_reusable = self.client.end_call(self.endpoints.clock.instant());
        if is_reusable {
            clients.make_available(&self.client);
        }
        drop(clients);
        self.endpoints.idle.notify_one();
    }
}
