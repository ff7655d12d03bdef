//! A simulation of the store that replicas share, for tests under paused time. A test can stop it,
//! empty it, cut its links, or make it lie.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::domain::{SourceIdentity, Time};
use resumen::process::Clock;
use resumen::replicas::{
    AcquireRequest, AcquireResponse, HeartbeatReply, LeaseRelease, MAX_WAITING_NOTIFICATIONS,
    Notification, OpenedSession, REPLICA_EXPIRY, SharedSession, SharedStore, SharedStoreError,
    SourceLease, StoreFuture, StoredState,
};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::sleep;

use super::lying_store::{
    forge_acquire_response, forge_heartbeat, forge_notifications, forge_states,
};

/// How far in the future the time of a value may lie; one further is ignored, as in the scripts.
const MAX_FUTURE_OFFSET: Duration = Duration::from_secs(1);

/// Time after which an operation without a reply fails.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(200);

/// A store in memory.
pub struct SimulatedStore {
    clock: Clock,
    state: Mutex<SimulatedStoreState>,
    is_down: AtomicBool,
    is_lying: AtomicBool,
    lost_replies: AtomicUsize,
}

#[derive(Default)]
struct SimulatedStoreState {
    /// The text of each lease and its expiry.
    leases: HashMap<SourceIdentity, (String, Time)>,
    stored_states: HashMap<SourceIdentity, (Time, Vec<u8>)>,
    replicas: HashMap<String, Time>,
    listeners: Vec<(Arc<SimulatedLink>, Sender<Notification>)>,
}

/// The network between one replica and the store.
#[derive(Default)]
pub struct SimulatedLink {
    is_cut: AtomicBool,
}

/// A connection of one replica.
pub struct SimulatedConnection {
    store: Arc<SimulatedStore>,
    link: Arc<SimulatedLink>,
}

impl SimulatedLink {
    pub fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, SeqCst);
    }
}

impl SimulatedStore {
    /// An empty store with this clock.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
            is_down: AtomicBool::new(false),
            is_lying: AtomicBool::new(false),
            lost_replies: AtomicUsize::new(0),
        })
    }

    /// A connection over this link.
    pub fn connect(self: &Arc<Self>, link: &Arc<SimulatedLink>) -> Arc<SimulatedConnection> {
        Arc::new(SimulatedConnection {
            store: Arc::clone(self),
            link: Arc::clone(link),
        })
    }

    /// Stops or starts the store. Its connections end.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, SeqCst);
        self.state.lock().unwrap().listeners.clear();
    }

    /// From now on every second reply is false, or no longer.
    pub fn set_lying(&self, is_lying: bool) {
        self.is_lying.store(is_lying, SeqCst);
    }

    /// Number of operations whose reply was lost while the store was up.
    pub fn lost_reply_count(&self) -> usize {
        self.lost_replies.load(SeqCst)
    }

    pub fn delete_everything(&self) {
        let mut state = self.state.lock().unwrap();
        *state = SimulatedStoreState {
            listeners: std::mem::take(&mut state.listeners),
            ..SimulatedStoreState::default()
        };
    }

    fn notify_listeners(
        state: &mut SimulatedStoreState,
        identity: SourceIdentity,
        token: &str,
        has_state: bool,
    ) {
        let notification = Notification {
            identity,
            token: token.to_owned(),
            has_state,
        };
        state.listeners.retain(|(link, to)| {
            link.is_cut.load(SeqCst) || to.try_send(notification.clone()).is_ok()
        });
    }
}

impl SimulatedStoreState {
    /// The lease at `now` with its expiry.
    fn current_lease(&self, identity: SourceIdentity, now: Time) -> Option<(SourceLease, Time)> {
        let (text, until) = self.leases.get(&identity)?;
        SourceLease::parse(text)
            .filter(|lease| *until > now && lease.started_at <= now.plus(MAX_FUTURE_OFFSET))
            .map(|lease| (lease, *until))
    }
}

impl SimulatedConnection {
    /// Runs an operation with a random latency. It fails while the store is unreachable, and sometimes
    /// only its reply is lost.
    async fn run_operation<T>(
        &self,
        work: impl FnOnce(&mut SimulatedStoreState, Time) -> T,
    ) -> Result<T, SharedStoreError> {
        sleep(Duration::from_micros(fastrand::u64(50..5_000))).await;
        let is_lost = fastrand::u32(..2_000) == 0;
        self.store
            .lost_replies
            .fetch_add(usize::from(is_lost), SeqCst);
        let is_lost = is_lost || self.is_unreachable();
        let result = (!self.is_unreachable()).then(|| {
            work(
                &mut self.store.state.lock().unwrap(),
                self.store.clock.now(),
            )
        });
        sleep(Duration::from_micros(fastrand::u64(50..5_000))).await;
        match result.filter(|_| !is_lost) {
            Some(result) => Ok(result),
            None if self.store.is_down.load(SeqCst) => {
                Err(SharedStoreError("reach it: it is down".into()))
            }
            None => {
                sleep(OPERATION_TIMEOUT).await;
                Err(SharedStoreError("reach it: no answer".into()))
            }
        }
    }

    /// Whether the next reply is to be false.
    fn lies(&self) -> bool {
        self.store.is_lying.load(SeqCst) && fastrand::bool()
    }

    fn is_unreachable(&self) -> bool {
        self.store.is_down.load(SeqCst) || self.link.is_cut.load(SeqCst)
    }
}

impl SharedStore for SimulatedConnection {
    fn open_session(&self) -> StoreFuture<'_, OpenedSession> {
        Box::pin(async {
            let (sender, notifications) = channel(MAX_WAITING_NOTIFICATIONS);
            let link = Arc::clone(&self.link);
            self.run_operation(move |state, _| state.listeners.push((link, sender)))
                .await?;
            let session = Self {
                store: Arc::clone(&self.store),
                link: Arc::clone(&self.link),
            };
            Ok(OpenedSession {
                session: Arc::new(session),
                notifications,
            })
        })
    }
}

impl SharedSession for SimulatedConnection {
    fn acquire_lease<'s>(
        &'s self,
        request: &'s AcquireRequest,
    ) -> StoreFuture<'s, AcquireResponse> {
        let acquire = self.run_operation(|state, now| {
            let newer_state = state
                .stored_states
                .get(&request.identity)
                .filter(|(started_at, _)| *started_at <= now.plus(MAX_FUTURE_OFFSET))
                .filter(|(started_at, _)| Some(*started_at) > request.known_attempt);
            let newer_state = newer_state.map(|(_, bytes)| StoredState::Bytes(bytes.clone()));
            match (state.current_lease(request.identity, now), newer_state) {
                (Some((lease, until)), newer_state) => AcquireResponse::Held {
                    lease,
                    remaining: until.since(now),
                    newer_state,
                },
                (None, Some(state)) if request.prefers_newer_state => {
                    AcquireResponse::NewerState(state)
                }
                _ => {
                    let text = format!("flying {} {}", request.token, now.as_millis());
                    state
                        .leases
                        .insert(request.identity, (text, now.plus(request.lease_duration)));
                    AcquireResponse::Granted
                }
            }
        });
        Box::pin(async {
            let response = acquire.await?;
            Ok(if self.lies() {
                forge_acquire_response(response, self.store.clock.now())
            } else {
                response
            })
        })
    }

    fn publish_state<'s>(&'s self, release: &'s LeaseRelease) -> StoreFuture<'s, bool> {
        Box::pin(self.run_operation(move |state, now| {
            if self.lies() {
                for notification in forge_notifications(release.identity) {
                    for (_, listener) in &state.listeners {
                        let _ = listener.try_send(notification.clone());
                    }
                }
                return fastrand::bool();
            }
            let LeaseRelease {
                identity,
                token,
                started_at,
                encoded_state,
                min_interval,
                ..
            } = release;
            let held = state.current_lease(*identity, now);
            let is_holder = held
                .as_ref()
                .is_some_and(|(lease, _)| lease.token == *token);
            let is_newer = state
                .stored_states
                .get(identity)
                .filter(|(known, _)| *known <= now.plus(MAX_FUTURE_OFFSET))
                .is_none_or(|(known, _)| known < started_at);
            if is_newer {
                state
                    .stored_states
                    .insert(*identity, (*started_at, encoded_state.clone()));
            }
            if is_holder || held.is_none() {
                let text = format!("landed {token} {}", started_at.as_millis());
                state
                    .leases
                    .insert(*identity, (text, started_at.plus(*min_interval)));
            }
            if is_holder || is_newer {
                SimulatedStore::notify_listeners(state, *identity, token, true);
            }
            is_holder
        }))
    }

    fn release_lease<'s>(
        &'s self,
        identity: SourceIdentity,
        token: &'s str,
    ) -> StoreFuture<'s, ()> {
        Box::pin(self.run_operation(move |state, now| {
            if state
                .current_lease(identity, now)
                .is_some_and(|(lease, _)| lease.token == token)
            {
                state.leases.remove(&identity);
                SimulatedStore::notify_listeners(state, identity, token, false);
            }
        }))
    }

    fn read_states<'s>(
        &'s self,
        identities: &'s [SourceIdentity],
    ) -> StoreFuture<'s, Vec<Option<StoredState>>> {
        let read = self.run_operation(|state, _| {
            let stored = |identity| {
                state
                    .stored_states
                    .get(identity)
                    .map(|(_, bytes)| StoredState::Bytes(bytes.clone()))
            };
            identities.iter().map(stored).collect()
        });
        Box::pin(async {
            let states = read.await?;
            Ok(if self.lies() {
                forge_states(states, self.store.clock.now())
            } else {
                states
            })
        })
    }

    fn send_heartbeat<'s>(&'s self, replica: &'s str) -> StoreFuture<'s, HeartbeatReply> {
        let send = self.run_operation(|state, now| {
            state.replicas.insert(replica.to_owned(), now);
            state
                .replicas
                .retain(|_, seen| now.since(*seen) <= REPLICA_EXPIRY);
            HeartbeatReply {
                store_time_us: now.as_millis() * 1000,
                live_replicas: u32::try_from(state.replicas.len()).unwrap(),
            }
        });
        Box::pin(async {
            let reply = send.await?;
            Ok(if self.lies() {
                forge_heartbeat(reply, self.store.clock.now())
            } else {
                reply
            })
        })
    }
}
