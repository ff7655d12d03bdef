//! One replica of the fleet: its connection to the others, or that there is none.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::domain::{Identity, Saved, Source, Time};
use crate::store::shared::{
    Beat, Landing, Letter, LetterError, SharedError, SharedSession, write_letter,
};

use super::post::Post;
use super::skew::Skew;
use super::{Role, Ticket, View};

/// How long an attempt waits for the first word from the store, at a start.
const FIRST_WORD: Duration = Duration::from_millis(800);

/// How far in the future an instant may lie that another replica tells: what two clocks that agree may differ by.
const AHEAD: Duration = Duration::from_millis(250);

/// Is told of each operation of the store that failed.
pub type Mishap = Arc<dyn Fn() + Send + Sync>;

/// This replica.
pub struct Fleet {
    /// What it is called among the others; another one after each start.
    name: String,
    pub(super) clock: Clock,
    link: watch::Sender<Link>,
    /// Whether it goes on alone for good, until the store is back: plans are made accordingly.
    adrift: AtomicBool,
    skew: Mutex<Skew>,
    replicas: AtomicU32,
    tokens: AtomicU64,
    pub(super) taken: AtomicU64,
    lost: AtomicU64,
    heard: AtomicU64,
    pub(super) post: Post,
    trouble: Mutex<Option<Arc<str>>>,
    /// Sources whose letter could not be used, and that the operator has been told of.
    unread: Mutex<HashSet<Identity>>,
    mishap: Mishap,
}

/// What the others are told about a source beside what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long its providers are to rest from the beginning of an attempt.
    min_interval: Duration,
    /// For how long somebody may want to know it.
    keep: Duration,
}

impl Terms {
    /// Those of a fetched source.
    pub fn of(source: &Source) -> Option<Self> {
        let keep = source.shelf.ttl.saturating_add(source.shelf.max_stale);
        source.pace().map(|pace| Self {
            min_interval: pace.min_interval,
            keep,
        })
    }
}

/// The connection.
#[derive(Clone)]
enum Link {
    Joining,
    Sharing(Arc<dyn SharedSession>),
    Alone,
}

impl Fleet {
    /// A replica that has not reached the store yet.
    pub fn new(clock: Clock, mishap: Mishap) -> Self {
        Self {
            name: format!("{:016x}", fastrand::u64(..)),
            clock,
            link: watch::Sender::new(Link::Joining),
            adrift: AtomicBool::new(false),
            skew: Mutex::default(),
            replicas: AtomicU32::new(0),
            tokens: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            post: Post::default(),
            trouble: Mutex::default(),
            unread: Mutex::default(),
            mishap,
        }
    }

    /// What it is called among the others.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a token is one of its own.
    pub fn is_own(&self, token: &str) -> bool {
        token.split('-').next() == Some(&self.name)
    }

    /// How many replicas ask each by themselves now, as far as is known: plans stretch by that. 1 while calls are shared.
    pub fn asking_alone(&self) -> u32 {
        if self.adrift.load(Relaxed) {
            self.replicas.load(Relaxed).max(1)
        } else {
            1
        }
    }

    /// How it stands to the others.
    pub fn view(&self) -> View {
        let role = match *self.link.borrow() {
            Link::Joining => Role::Joining,
            Link::Sharing(_) => Role::Sharing,
            Link::Alone => Role::Alone,
        };
        View {
            role,
            replicas: self.replicas.load(Relaxed),
            taken: self.taken.load(Relaxed),
            lost: self.lost.load(Relaxed),
            heard: self.heard.load(Relaxed),
            skew_ms: lock(&self.skew).to_store(),
            trouble: lock(&self.trouble)
                .clone()
                .filter(|_| role != Role::Sharing),
        }
    }

    /// Shares through this session from now on.
    pub fn join(&self, session: Arc<dyn SharedSession>) {
        self.adrift.store(false, Relaxed);
        self.link.send_replace(Link::Sharing(session));
    }

    /// An operation of a session failed: until another one is joined, nobody waits for the store.
    pub fn trip(&self, session: Option<&Arc<dyn SharedSession>>, error: &SharedError) {
        (self.mishap)();
        debug!("failed to {error}");
        *lock(&self.trouble) = Some(Arc::clone(&error.0));
        self.link.send_if_modified(|link| {
            let over = match (&*link, session) {
                (Link::Sharing(now), Some(failed)) => Arc::ptr_eq(now, failed),
                (Link::Sharing(_), None) => true,
                (Link::Joining, _) => session.is_none(),
                (Link::Alone, _) => false,
            };
            if over {
                *link = Link::Alone;
            }
            over
        });
    }

    /// Plans as one of several that each ask by themselves, until another session is joined.
    pub fn set_adrift(&self) {
        self.adrift.store(true, Relaxed);
    }

    /// Waits until a session has been given up; gives why.
    pub async fn parted(&self, session: &Arc<dyn SharedSession>) -> SharedError {
        let mut link = self.link.subscribe();
        let over = |link: &Link| !matches!(link, Link::Sharing(now) if Arc::ptr_eq(now, session));
        // The sender lives as long as this replica.
        let _ = link.wait_for(over).await;
        SharedError(lock(&self.trouble).clone().unwrap_or_default())
    }

    /// Takes in what a sign of life, given between `before` and `after`, was answered. `settled` once the session is old
    /// enough for all others to have been seen: before, fewer than were known are not believed.
    pub fn beaten(&self, beat: Beat, before: Time, after: Time, settled: bool) {
        let known = self.replicas.load(Relaxed);
        self.replicas.store(
            if settled {
                beat.replicas
            } else {
                beat.replicas.max(known)
            },
            Relaxed,
        );
        let mut skew = lock(&self.skew);
        let measured = skew.measured(before, after, beat.micros);
        if measured != *skew {
            warn!(
                ahead_ms = measured.to_store(),
                "the clock of the store that replicas share differs from this machine's; instants are translated"
            );
            *skew = measured;
        }
    }

    /// What a letter tells, on this replica's clock. None, and the operator is told, if it cannot be used.
    pub fn read(&self, identity: Identity, letter: &Letter) -> Option<Saved> {
        let read = letter.read().and_then(|saved| self.dated(saved));
        let mut unread = lock(&self.unread);
        match read {
            Ok(saved) => {
                unread.remove(&identity);
                Some(saved)
            }
            Err(error) => {
                if unread.insert(identity) {
                    let identity = identity.to_string();
                    warn!(
                        identity,
                        "what another replica shared of a source is not used: {error}"
                    );
                }
                None
            }
        }
    }

    /// What another replica knows was taken in; `token` is whose attempt told it.
    pub fn heard(&self, identity: Identity, token: &str, at: Option<Time>) {
        if at.is_some() {
            self.heard.fetch_add(1, Relaxed);
        }
        self.post.ring(identity, token, at);
    }

    /// Tells the others what is known of a source after an attempt, and gives back the lease if there was one.
    pub async fn land(&self, ticket: Option<Ticket>, saved: Saved, terms: Terms) {
        let Some(session) = self.session().await else {
            return;
        };
        let Some(landing) = self.landing(ticket.as_ref(), saved, terms) else {
            return;
        };
        match session.land(&landing).await {
            Ok(held) => {
                if ticket.is_some_and(|ticket| ticket.sure) && !held {
                    self.lost.fetch_add(1, Relaxed);
                    debug!(identity = %landing.identity, "a lease was gone when its attempt ended");
                }
            }
            Err(error) => self.trip(Some(&session), &error),
        }
    }

    /// Gives back a lease that led to nothing.
    pub async fn free(&self, ticket: Ticket) {
        let Some(session) = self.session().await else {
            return;
        };
        if let Err(error) = session.free(ticket.identity, &ticket.token).await {
            self.trip(Some(&session), &error);
        }
    }

    /// The session, once it is known whether there is one.
    pub(super) async fn session(&self) -> Option<Arc<dyn SharedSession>> {
        let mut link = self.link.subscribe();
        let known = timeout(
            FIRST_WORD,
            link.wait_for(|link| !matches!(link, Link::Joining)),
        )
        .await;
        match &*known.ok()?.ok()? {
            Link::Sharing(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// A token for one attempt.
    pub(super) fn token(&self) -> String {
        format!("{}-{}", self.name, self.tokens.fetch_add(1, Relaxed))
    }

    /// An instant on the store's clock.
    pub(super) fn to_store(&self, time: Time) -> Time {
        Time::from_millis(time.as_millis().saturating_add(lock(&self.skew).to_store()))
    }

    fn landing(&self, ticket: Option<&Ticket>, saved: Saved, terms: Terms) -> Option<Landing> {
        let identity = saved.identity;
        let shift = lock(&self.skew).to_store();
        // Nothing is in the future of whoever tells it, so that nothing is cut off here.
        let saved = saved.moved(shift, Time::from_millis(i64::MAX));
        let stamp = saved.trail.last?;
        let letter = write_letter(&saved).unwrap_or_default();
        if letter.is_empty() {
            warn!(
                source = saved.name.as_str(),
                "too large to be shared with other replicas"
            );
        }
        let token = ticket.map_or_else(|| self.token(), |ticket| ticket.token.clone());
        let Terms { min_interval, keep } = terms;
        Some(Landing {
            identity,
            token,
            stamp,
            letter,
            min_interval,
            keep,
        })
    }

    /// What a letter tells, moved onto this replica's clock, unless it claims to come from the future.
    fn dated(&self, saved: Saved) -> Result<Saved, LetterError> {
        let shift = lock(&self.skew).to_own();
        let latest = self.clock.now().after(AHEAD);
        let stamp = saved
            .trail
            .last
            .map(|at| Time::from_millis(at.as_millis().saturating_add(shift)));
        if stamp.is_some_and(|stamp| stamp > latest) {
            return Err(LetterError::Future);
        }
        Ok(saved.moved(shift, latest))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
