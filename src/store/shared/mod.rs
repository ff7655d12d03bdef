//! The store that replicas share: what it can do, and what they write into it.
//!
//! Two stand behind this port: Redis, and a simulated store under paused time in the tests.

mod letter;
mod protocol;

pub use letter::{LARGEST, LetterError, decode as read_letter, encode as write_letter};
pub use protocol::{Keys, LEASE_MARGIN, Lease, Notice, Phase, SEEN_FOR, Step};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::domain::{Identity, Time};

/// What every operation gives, in its own time.
pub type Pending<'p, T> = Pin<Box<dyn Future<Output = Result<T, SharedError>> + Send + 'p>>;

/// A store that can be reached, or not.
pub trait SharedStore: Send + Sync {
    /// Connects, proves that it can be written to, and listens to the notices. Every step is limited; the whole takes
    /// less than a second.
    fn open(&self) -> Pending<'_, Opened>;
}

/// A connection to the store. Every operation is limited in time; after one that failed nothing more is to be expected
/// of this session.
pub trait SharedSession: Send + Sync {
    /// Takes the lease of a source, unless somebody holds it or has told more than is known.
    fn take<'s>(&'s self, wish: &'s Wish) -> Pending<'s, Taken>;
    /// Writes what is known of a source and gives the lease back; true if it was still held.
    fn land<'s>(&'s self, landing: &'s Landing) -> Pending<'s, bool>;
    /// Gives a lease back that led to nothing.
    fn free<'s>(&'s self, identity: Identity, token: &'s str) -> Pending<'s, ()>;
    /// The letters of these sources, in this order.
    fn read<'s>(&'s self, identities: &'s [Identity]) -> Pending<'s, Vec<Option<Letter>>>;
    /// Says that this replica lives.
    fn beat<'s>(&'s self, replica: &'s str) -> Pending<'s, Beat>;
}

/// A new session.
pub struct Opened {
    /// The session.
    pub session: Arc<dyn SharedSession>,
    /// What is told to all replicas from now on; ends with the connection.
    pub notices: UnboundedReceiver<Notice>,
}

/// A wish for a lease.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Of which source.
    pub identity: Identity,
    /// Unique to this attempt.
    pub token: String,
    /// How long the lease lasts at most.
    pub span: Duration,
    /// When the newest attempt that is known of began, on the store's clock.
    pub known: Option<Time>,
    /// Whether to take a letter about a newer one rather than the lease.
    pub yields: bool,
}

/// The answer to it.
#[derive(Debug)]
pub enum Taken {
    /// The lease is held from now on.
    Granted,
    /// Somebody else holds it.
    Held {
        /// What they wrote.
        lease: Lease,
        /// How long it lasts.
        left: Duration,
        /// What the store holds, if that is newer than what is known.
        letter: Option<Letter>,
    },
    /// The store holds something newer than what is known; nobody holds the lease.
    Told(Letter),
}

/// A value of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// So many bytes that they were not fetched.
    Oversize(u64),
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct Landing {
    /// Of which source.
    pub identity: Identity,
    /// Whose attempt it was.
    pub token: String,
    /// When it began, on the store's clock.
    pub stamp: Time,
    /// What is known now; empty if it is too large to tell.
    pub letter: Vec<u8>,
    /// How long the providers are to rest from its beginning.
    pub min_interval: Duration,
    /// For how long somebody may still want the letter.
    pub keep: Duration,
}

/// The answer to a sign of life.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    /// Now on the store's clock, in microseconds since the epoch.
    pub micros: i64,
    /// How many replicas gave a sign of life lately.
    pub replicas: u32,
}

/// Why the store did not do what it was asked to; fits after "failed to". Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SharedError(pub Arc<str>);

impl Letter {
    /// What it tells.
    pub fn read(&self) -> Result<crate::domain::Saved, LetterError> {
        match self {
            Self::Bytes(bytes) => read_letter(bytes),
            Self::Oversize(bytes) => Err(LetterError::Oversize(*bytes)),
        }
    }
}
