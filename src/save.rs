//! Floor 4: the task that keeps the state file, and what a start reads from it.
//!
//! Imports `domain`, `cache`, `clock` and `store`. It writes off the serving path, at most once a second and at the end,
//! and it never fails anything but itself: a disk that is full costs the readings of a later start, not an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::cache::Cache;
use crate::clock::Clock;
use crate::store::{State, StateFile, StoreError};

/// The least time between two saves.
const PAUSE: Duration = Duration::from_secs(1);

/// How long after a save that failed the next one is tried.
const RETRY: Duration = Duration::from_secs(5);

/// Is told of each operation of the file that failed.
pub type Mishap = Arc<dyn Fn() + Send + Sync>;

/// Keeps the state file.
pub struct Saver {
    file: StateFile,
    cache: Arc<Cache>,
    clock: Clock,
    mishap: Mishap,
    /// Whether the operator has been told that nothing is saved.
    failing: AtomicBool,
}

impl Saver {
    /// A saver of what `cache` holds. Nothing is read or written yet.
    pub fn new(file: StateFile, cache: Arc<Cache>, clock: Clock, mishap: Mishap) -> Self {
        Self {
            file,
            cache,
            clock,
            mishap,
            failing: AtomicBool::new(false),
        }
    }

    /// Gives what the file holds to the cell; true if that was something. Blocks on the disk.
    pub fn restore(&self) -> bool {
        let claimed = self.file.claim().map(drop);
        let restored = self.read();
        self.tell(&claimed);
        restored > 0
    }

    /// Saves after every change, until `stop`. What was changed last is for [`Saver::finish`].
    pub async fn run(self: &Arc<Self>, stop: &CancellationToken) {
        let mut changes = self.cache.subscribe();
        let mut saved = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.changed(), if saved => if change.is_err() { return },
                () = sleep(RETRY), if !saved => {}
            }
            changes.mark_unchanged();
            saved = self.finish().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// Saves once; true if it was. At the end: when nothing is published any more.
    pub async fn finish(self: &Arc<Self>) -> bool {
        let saver = Arc::clone(self);
        // A panic is in the log already; the next save is another try.
        spawn_blocking(move || saver.save()).await.unwrap_or(false)
    }

    fn save(&self) -> bool {
        let result = self.write();
        self.tell(&result);
        result.is_ok()
    }

    /// Whoever takes over the file from another program, an older one in a rolling restart, takes its readings first.
    fn write(&self) -> Result<(), StoreError> {
        if self.file.claim()? {
            self.read();
        }
        let sources = self.cache.snapshot().saved();
        self.file.save(&State {
            taken: self.clock.moment(),
            sources,
        })
    }

    /// Merges the file's content into the cell; gives how many sources it told of.
    fn read(&self) -> usize {
        let loaded = self.file.load();
        loaded
            .warnings
            .iter()
            .for_each(|warning| warn!("{warning}"));
        let now = self.clock.moment();
        let kept = loaded
            .state
            .map(|state| state.seen_from(&now))
            .unwrap_or_default();
        let before = self.known();
        self.cache.restore(&kept);
        let restored = self.known().saturating_sub(before);
        if restored > 0 {
            info!(file = %self.file.path().display(), sources = restored, "restored readings");
        }
        restored
    }

    /// How many sources have a reading.
    fn known(&self) -> usize {
        self.cache
            .snapshot()
            .entries()
            .iter()
            .filter(|entry| entry.reading.is_some())
            .count()
    }

    /// Tells the operator once when saving begins to fail, and when it works again.
    fn tell(&self, result: &Result<(), StoreError>) {
        let failed = result.as_ref().err();
        if failed.is_some_and(|error| !matches!(error, StoreError::Busy(_))) {
            (self.mishap)();
        }
        match (failed, self.failing.swap(failed.is_some(), Relaxed)) {
            (Some(error), false) => {
                warn!("readings would not survive a restart for now: failed to {error}")
            }
            (Some(error), true) => debug!("failed to {error}"),
            (None, true) => info!(file = %self.file.path().display(), "readings are saved again"),
            (None, false) => {}
        }
    }
}
