//! The store that replicas share, simulated under paused time: slow, deaf, cut off or emptied when a test says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::clock::Clock;
use resumen::domain::{Identity, Time};
use resumen::store::shared::{
    Beat, Landing, Lease, Letter, Notice, Opened, Pending, SEEN_FOR, SharedError, SharedSession,
    SharedStore, Taken, Wish,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;

/// As long as an operation takes at most before it counts as failed.
const LIMIT: Duration = Duration::from_millis(200);

/// The store.
pub struct Simulated {
    clock: Clock,
    state: Mutex<State>,
    down: AtomicBool,
    lost: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Text and when it expires.
    leases: HashMap<Identity, (String, Time)>,
    letters: HashMap<Identity, (Time, Vec<u8>)>,
    replicas: HashMap<String, Time>,
    listeners: Vec<(Arc<Cable>, UnboundedSender<Notice>)>,
}

/// What connects one replica to the store.
#[derive(Default)]
pub struct Cable {
    cut: AtomicBool,
}

/// The store as one replica sees it.
pub struct Port {
    store: Arc<Simulated>,
    cable: Arc<Cable>,
}

impl Cable {
    /// Cuts it, or mends it.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, SeqCst);
    }
}

impl Simulated {
    /// An empty store on this clock.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
            down: AtomicBool::new(false),
            lost: AtomicUsize::new(0),
        })
    }

    /// The store as a replica at the end of this cable sees it.
    pub fn port(self: &Arc<Self>, cable: &Arc<Cable>) -> Arc<Port> {
        Arc::new(Port {
            store: Arc::clone(self),
            cable: Arc::clone(cable),
        })
    }

    /// Stops it, or starts it again; connections end with it.
    pub fn down(&self, down: bool) {
        self.down.store(down, SeqCst);
        self.state.lock().unwrap().listeners.clear();
    }

    /// How many answers were lost although the store was there.
    pub fn lost(&self) -> usize {
        self.lost.load(SeqCst)
    }

    /// Forgets everything.
    pub fn flush(&self) {
        let mut state = self.state.lock().unwrap();
        *state = State {
            listeners: std::mem::take(&mut state.listeners),
            ..State::default()
        };
    }

    fn tell(state: &mut State, identity: Identity, token: &str, landed: bool) {
        let notice = Notice {
            identity,
            token: token.to_owned(),
            landed,
        };
        state
            .listeners
            .retain(|(cable, to)| cable.cut.load(SeqCst) || to.send(notice.clone()).is_ok());
    }
}

impl State {
    /// The lease that is held at `now`, and until when.
    fn held(&self, identity: Identity, now: Time) -> Option<(Lease, Time)> {
        let (text, until) = self.leases.get(&identity)?;
        Lease::parse(text)
            .filter(|_| *until > now)
            .map(|lease| (lease, *until))
    }
}

impl Port {
    /// An operation: takes a moment, or fails if nobody answers. Sometimes it is done and only the answer is lost.
    async fn run<T>(&self, work: impl FnOnce(&mut State, Time) -> T) -> Result<T, SharedError> {
        sleep(Duration::from_micros(fastrand::u64(50..5_000))).await;
        let lost = fastrand::u32(..2_000) == 0;
        self.store.lost.fetch_add(usize::from(lost), SeqCst);
        let lost = lost || self.unreachable();
        let done = (!self.unreachable()).then(|| {
            work(
                &mut self.store.state.lock().unwrap(),
                self.store.clock.now(),
            )
        });
        sleep(Duration::from_micros(fastrand::u64(50..5_000))).await;
        match done.filter(|_| !lost) {
            Some(done) => Ok(done),
            None if self.store.down.load(SeqCst) => Err(SharedError("reach it: it is down".into())),
            None => {
                sleep(LIMIT).await;
                Err(SharedError("reach it: no answer".into()))
            }
        }
    }

    fn unreachable(&self) -> bool {
        self.store.down.load(SeqCst) || self.cable.cut.load(SeqCst)
    }
}

impl SharedStore for Port {
    fn open(&self) -> Pending<'_, Opened> {
        Box::pin(async {
            let (sender, notices) = unbounded_channel();
            let cable = Arc::clone(&self.cable);
            self.run(move |state, _| state.listeners.push((cable, sender)))
                .await?;
            let session = Self {
                store: Arc::clone(&self.store),
                cable: Arc::clone(&self.cable),
            };
            Ok(Opened {
                session: Arc::new(session),
                notices,
            })
        })
    }
}

impl SharedSession for Port {
    fn take<'s>(&'s self, wish: &'s Wish) -> Pending<'s, Taken> {
        Box::pin(self.run(|state, now| {
            let letter = state
                .letters
                .get(&wish.identity)
                .filter(|(stamp, _)| Some(*stamp) > wish.known);
            let letter = letter.map(|(_, bytes)| Letter::Bytes(bytes.clone()));
            match (state.held(wish.identity, now), letter) {
                (Some((lease, until)), letter) => Taken::Held {
                    lease,
                    left: until.since(now),
                    letter,
                },
                (None, Some(letter)) if wish.yields => Taken::Told(letter),
                _ => {
                    let text = format!("flying {} {}", wish.token, now.as_millis());
                    state
                        .leases
                        .insert(wish.identity, (text, now.after(wish.span)));
                    Taken::Granted
                }
            }
        }))
    }

    fn land<'s>(&'s self, landing: &'s Landing) -> Pending<'s, bool> {
        Box::pin(self.run(|state, now| {
            let Landing {
                identity,
                token,
                stamp,
                letter,
                min_interval,
                ..
            } = landing;
            let held = state.held(*identity, now);
            let mine = held
                .as_ref()
                .is_some_and(|(lease, _)| lease.token == *token);
            let newer = state
                .letters
                .get(identity)
                .is_none_or(|(known, _)| known < stamp);
            if newer {
                state.letters.insert(*identity, (*stamp, letter.clone()));
            }
            if mine || held.is_none() {
                let text = format!("landed {token} {}", stamp.as_millis());
                state
                    .leases
                    .insert(*identity, (text, stamp.after(*min_interval)));
            }
            if mine || newer {
                Simulated::tell(state, *identity, token, true);
            }
            mine
        }))
    }

    fn free<'s>(&'s self, identity: Identity, token: &'s str) -> Pending<'s, ()> {
        Box::pin(self.run(move |state, now| {
            if state
                .held(identity, now)
                .is_some_and(|(lease, _)| lease.token == token)
            {
                state.leases.remove(&identity);
                Simulated::tell(state, identity, token, false);
            }
        }))
    }

    fn read<'s>(&'s self, identities: &'s [Identity]) -> Pending<'s, Vec<Option<Letter>>> {
        Box::pin(self.run(|state, _| {
            let letter = |identity| {
                state
                    .letters
                    .get(identity)
                    .map(|(_, bytes)| Letter::Bytes(bytes.clone()))
            };
            identities.iter().map(letter).collect()
        }))
    }

    fn beat<'s>(&'s self, replica: &'s str) -> Pending<'s, Beat> {
        Box::pin(self.run(|state, now| {
            state.replicas.insert(replica.to_owned(), now);
            state
                .replicas
                .retain(|_, seen| now.since(*seen) <= SEEN_FOR);
            let replicas = u32::try_from(state.replicas.len()).unwrap();
            Beat {
                micros: now.as_millis() * 1000,
                replicas,
            }
        }))
    }
}
