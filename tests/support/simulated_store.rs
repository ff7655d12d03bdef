//! The store that replicas share, simulated under paused time: slow, deaf, cut off or emptied when a test says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::domain::{SourceIdentity, Time};
use resumen::process::Clock;
use resumen::replicas::{
    AcquireRequest, AcquireResponse, HeartbeatReply, LeaseRelease, Notification, OpenedSession,
    REPLICA_EXPIRY, SharedSession, SharedStore, SharedStoreError, SourceLease, StoreFuture,
    StoredState,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;

/// As long as an operation takes at most before it counts as failed.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(200);

/// The store.
pub struct SimulatedStore {
    clock: Clock,
    state: Mutex<SimulatedStoreState>,
    is_down: AtomicBool,
    lost_replies: AtomicUsize,
}

#[derive(Default)]
struct SimulatedStoreState {
    /// Text and when it expires.
    leases: HashMap<SourceIdentity, (String, Time)>,
    stored_states: HashMap<SourceIdentity, (Time, Vec<u8>)>,
    replicas: HashMap<String, Time>,
    listeners: Vec<(Arc<SimulatedLink>, UnboundedSender<Notification>)>,
}

/// What connects one replica to the store.
#[derive(Default)]
pub struct SimulatedLink {
    is_cut: AtomicBool,
}

/// The store as one replica sees it.
pub struct SimulatedConnection {
    store: Arc<SimulatedStore>,
    link: Arc<SimulatedLink>,
}

impl SimulatedLink {
    /// Cuts it, or mends it.
    pub fn set_cut(&self, cut: bool) {
        self.is_cut.store(cut, SeqCst);
    }
}

impl SimulatedStore {
    /// An empty store on this clock.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
            is_down: AtomicBool::new(false),
            lost_replies: AtomicUsize::new(0),
        })
    }

    /// The store as a replica at the end of this cable sees it.
    pub fn connect(self: &Arc<Self>, cable: &Arc<SimulatedLink>) -> Arc<SimulatedConnection> {
        Arc::new(SimulatedConnection {
            store: Arc::clone(self),
            link: Arc::clone(cable),
        })
    }

    /// Stops it, or starts it again; connections end with it.
    pub fn set_down(&self, down: bool) {
        self.is_down.store(down, SeqCst);
        self.state.lock().unwrap().listeners.clear();
    }

    /// How many answers were lost although the store was there.
    pub fn lost_reply_count(&self) -> usize {
        self.lost_replies.load(SeqCst)
    }

    /// Forgets everything.
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
        landed: bool,
    ) {
        let notice = Notification {
            identity,
            token: token.to_owned(),
            has_state: landed,
        };
        state
            .listeners
            .retain(|(cable, to)| cable.is_cut.load(SeqCst) || to.send(notice.clone()).is_ok());
    }
}

impl SimulatedStoreState {
    /// The lease that is held at `now`, and until when.
    fn current_lease(&self, identity: SourceIdentity, now: Time) -> Option<(SourceLease, Time)> {
        let (text, until) = self.leases.get(&identity)?;
        SourceLease::parse(text)
            .filter(|_| *until > now)
            .map(|lease| (lease, *until))
    }
}

impl SimulatedConnection {
    /// An operation: takes a moment, or fails if nobody answers. Sometimes it is done and only the answer is lost.
    async fn run_operation<T>(
        &self,
        work: impl FnOnce(&mut SimulatedStoreState, Time) -> T,
    ) -> Result<T, SharedStoreError> {
        sleep(Duration::from_micros(fastrand::u64(50..5_000))).await;
        let lost = fastrand::u32(..2_000) == 0;
        self.store.lost_replies.fetch_add(usize::from(lost), SeqCst);
        let lost = lost || self.is_unreachable();
        let done = (!self.is_unreachable()).then(|| {
            work(
                &mut self.store.state.lock().unwrap(),
                self.store.clock.now(),
            )
        });
        sleep(Duration::from_micros(fastrand::u64(50..5_000))).await;
        match done.filter(|_| !lost) {
            Some(done) => Ok(done),
            None if self.store.is_down.load(SeqCst) => {
                Err(SharedStoreError("reach it: it is down".into()))
            }
            None => {
                sleep(OPERATION_TIMEOUT).await;
                Err(SharedStoreError("reach it: no answer".into()))
            }
        }
    }

    fn is_unreachable(&self) -> bool {
        self.store.is_down.load(SeqCst) || self.link.is_cut.load(SeqCst)
    }
}

impl SharedStore for SimulatedConnection {
    fn open_session(&self) -> StoreFuture<'_, OpenedSession> {
        Box::pin(async {
            let (sender, notices) = unbounded_channel();
            let cable = Arc::clone(&self.link);
            self.run_operation(move |state, _| state.listeners.push((cable, sender)))
                .await?;
            let session = Self {
                store: Arc::clone(&self.store),
                link: Arc::clone(&self.link),
            };
            Ok(OpenedSession {
                session: Arc::new(session),
                notifications: notices,
            })
        })
    }
}

impl SharedSession for SimulatedConnection {
    fn acquire_lease<'s>(&'s self, wish: &'s AcquireRequest) -> StoreFuture<'s, AcquireResponse> {
        Box::pin(self.run_operation(|state, now| {
            let letter = state
                .stored_states
                .get(&wish.identity)
                .filter(|(stamp, _)| Some(*stamp) > wish.known_attempt);
            let letter = letter.map(|(_, bytes)| StoredState::Bytes(bytes.clone()));
            match (state.current_lease(wish.identity, now), letter) {
                (Some((lease, until)), letter) => AcquireResponse::Held {
                    lease,
                    remaining: until.since(now),
                    newer_state: letter,
                },
                (None, Some(letter)) if wish.prefers_newer_state => {
                    AcquireResponse::NewerState(letter)
                }
                _ => {
                    let text = format!("flying {} {}", wish.token, now.as_millis());
                    state
                        .leases
                        .insert(wish.identity, (text, now.plus(wish.lease_duration)));
                    AcquireResponse::Granted
                }
            }
        }))
    }

    fn publish_state<'s>(&'s self, landing: &'s LeaseRelease) -> StoreFuture<'s, bool> {
        Box::pin(self.run_operation(|state, now| {
            let LeaseRelease {
                identity,
                token,
                started_at: stamp,
                encoded_state: letter,
                min_interval,
                ..
            } = landing;
            let held = state.current_lease(*identity, now);
            let mine = held
                .as_ref()
                .is_some_and(|(lease, _)| lease.token == *token);
            let newer = state
                .stored_states
                .get(identity)
                .is_none_or(|(known, _)| known < stamp);
            if newer {
                state
                    .stored_states
                    .insert(*identity, (*stamp, letter.clone()));
            }
            if mine || held.is_none() {
                let text = format!("landed {token} {}", stamp.as_millis());
                state
                    .leases
                    .insert(*identity, (text, stamp.plus(*min_interval)));
            }
            if mine || newer {
                SimulatedStore::notify_listeners(state, *identity, token, true);
            }
            mine
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
        Box::pin(self.run_operation(|state, _| {
            let letter = |identity| {
                state
                    .stored_states
                    .get(identity)
                    .map(|(_, bytes)| StoredState::Bytes(bytes.clone()))
            };
            identities.iter().map(letter).collect()
        }))
    }

    fn send_heartbeat<'s>(&'s self, replica: &'s str) -> StoreFuture<'s, HeartbeatReply> {
        Box::pin(self.run_operation(|state, now| {
            state.replicas.insert(replica.to_owned(), now);
            state
                .replicas
                .retain(|_, seen| now.since(*seen) <= REPLICA_EXPIRY);
            let replicas = u32::try_from(state.replicas.len()).unwrap();
            HeartbeatReply {
                store_time_us: now.as_millis() * 1000,
                live_replicas: replicas,
            }
        }))
    }
}
