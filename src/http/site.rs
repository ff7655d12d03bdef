//! What the routes answer from.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::config;
use crate::domain::{Snapshot, Time};
use crate::fetch::Fetch;
use crate::fleet::Fleet;
use crate::live::Live;
use crate::refresh::Pulse;
use crate::supervise::Supervisor;

use super::cors::Cors;
use super::counters::Board;
use super::metrics::Vitals;
use super::panel::{History, Page};
use super::source_metrics::Fetches;
use super::stream::Clients;

/// What a site is made of.
pub struct Parts<F> {
    /// How to serve.
    pub settings: config::Server,
    /// Now.
    pub clock: Clock,
    /// What is known.
    pub cache: Arc<Cache>,
    /// Who answers live requests.
    pub live: Arc<Live<F>>,
    /// The refresher's sign of life.
    pub pulse: Arc<Pulse>,
    /// What the attempts are counted in.
    pub fetches: Arc<Fetches>,
    /// What the rest of the program tells of itself.
    pub vitals: Arc<Vitals>,
    /// Keeps the accept loop and the serving threads going, and counts whatever had to be started again.
    pub supervisor: Supervisor,
    /// Whether the snapshot was restored, so that there is something to serve before the first round ends.
    pub restored: bool,
    /// This replica as one of several, if calls and readings are shared.
    pub fleet: Option<Arc<Fleet>>,
}

/// Everything that the routes answer from. Shared by all serving threads.
pub struct Site<F> {
    pub(super) settings: config::Server,
    pub(super) clock: Clock,
    pub(super) cache: Arc<Cache>,
    pub(super) live: Arc<Live<F>>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) fetches: Arc<Fetches>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) supervisor: Supervisor,
    pub(super) cors: Cors,
    pub(super) counters: Board,
    pub(super) started: Time,
    pub(super) page: Page,
    pub(super) fleet: Option<Arc<Fleet>>,
    pub(super) history: History,
    restored: bool,
    /// Whether no source is waited for any more; from then on none ever is.
    settled: AtomicBool,
    /// When it began to drain.
    draining: OnceLock<Instant>,
    drained: CancellationToken,
    /// Who listens to the stream.
    pub(super) streams: Clients,
}

impl<F: Fetch> Site<F> {
    /// A site that nobody has asked yet.
    pub fn new(parts: Parts<F>) -> Self {
        let Parts {
            settings,
            clock,
            cache,
            live,
            pulse,
            fetches,
            vitals,
            supervisor,
            restored,
            fleet,
        } = parts;
        Self {
            cors: Cors::new(&settings.cors_origins),
            counters: Board::default(),
            started: clock.now(),
            page: Page::new(),
            history: History::default(),
            settled: AtomicBool::new(false),
            draining: OnceLock::new(),
            drained: CancellationToken::new(),
            streams: Clients::default(),
            settings,
            clock,
            cache,
            live,
            pulse,
            fetches,
            vitals,
            supervisor,
            fleet,
            restored,
        }
    }

    /// Whether `/resumen` can be answered without waiting for a first round.
    pub(super) fn is_settled(&self) -> bool {
        if self.settled.load(Relaxed) {
            return true;
        }
        let snapshot = self.cache.snapshot();
        let settled = all_settled(&snapshot, 0..snapshot.entries().len());
        if settled {
            self.settled.store(true, Relaxed);
        }
        settled
    }

    /// Whether there is something to serve.
    pub(super) fn is_ready(&self) -> bool {
        self.restored || self.is_settled()
    }

    /// Keeps the history that the panel's lines begin with, until `stop`.
    pub async fn remember(&self, stop: &CancellationToken) {
        self.history.follow(&self.cache, stop).await;
    }

    /// From now on it is not ready, streams end, and every answer is its connection's last.
    pub(super) fn drain(&self) {
        self.draining.get_or_init(|| self.clock.instant());
        self.drained.cancel();
    }

    /// Waits until it drains.
    pub(super) async fn drained(&self) {
        self.drained.cancelled().await;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// When it began to drain, if it has.
    pub(super) fn drained_since(&self) -> Option<Instant> {
        self.draining.get().copied()
    }
}

/// Whether none of these positions is left to wait for.
pub(super) fn all_settled(snapshot: &Snapshot, mut positions: impl Iterator<Item = usize>) -> bool {
    positions.all(|at| snapshot.settled(at))
}
