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

use super::cache::Cache;
use crate::process::Clock;
use crate::store::{StateFile, StateFileContent, StateFileError};

/// The least time between two saves.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long after a save that failed the next one is tried.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Is told of each operation of the file that failed.
pub type PersistErrorHook = Arc<dyn Fn() + Send + Sync>;

/// Keeps the state file.
pub struct Persister {
    file: StateFile,
    cache: Arc<Cache>,
    clock: Clock,
    on_error: PersistErrorHook,
    /// Whether the operator has been told that nothing is saved.
    is_failing: AtomicBool,
}

impl Persister {
    /// A saver of what `cache` holds. Nothing is read or written yet.
    pub fn new(file: StateFile, cache: Arc<Cache>, clock: Clock, mishap: PersistErrorHook) -> Self {
        Self {
            file,
            cache,
            clock,
            on_error: mishap,
            is_failing: AtomicBool::new(false),
        }
    }

    /// Gives what the file holds to the cell; true if that was something. Blocks on the disk.
    pub fn restore_state(&self) -> bool {
        let claimed = self.file.acquire_write_lock().map(drop);
        let restored = self.read_state();
        self.report_save_result(&claimed);
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
                () = sleep(RETRY_DELAY), if !saved => {}
            }
            changes.mark_unchanged();
            saved = self.save_now().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(SAVE_INTERVAL) => {}
            }
        }
    }

    /// Saves once; true if it was. At the end: when nothing is published any more.
    pub async fn save_now(self: &Arc<Self>) -> bool {
        let saver = Arc::clone(self);
        // A panic is in the log already; the next save is another try.
        spawn_blocking(move || saver.save_blocking())
            .await
            .unwrap_or(false)
    }

    fn save_blocking(&self) -> bool {
        let result = self.write_state();
        self.report_save_result(&result);
        result.is_ok()
    }

    /// Whoever takes over the file from another program, an older one in a rolling restart, takes its readings first.
    fn write_state(&self) -> Result<(), StateFileError> {
        if self.file.acquire_write_lock()? {
            self.read_state();
        }
        let sources = self.cache.snapshot().source_records();
        self.file.save(&StateFileContent {
            taken_at: self.clock.timestamps(),
            source_records: sources,
        })
    }

    /// Merges the file's content into the cell; gives how many sources it told of.
    fn read_state(&self) -> usize {
        let loaded = self.file.load();
        loaded
            .warnings
            .iter()
            .for_each(|warning| warn!("{warning}"));
        let now = self.clock.timestamps();
        let kept = loaded
            .content
            .map(|state| state.into_records_at(&now))
            .unwrap_or_default();
        let before = self.count_readings();
        self.cache.merge_restored(&kept);
        let restored = self.count_readings().saturating_sub(before);
        if restored > 0 {
            info!(file = %self.file.path().display(), sources = restored, "restored readings");
        }
        restored
    }

    /// How many sources have a reading.
    fn count_readings(&self) -> usize {
        self.cache
            .snapshot()
            .source_states()
            .iter()
            .filter(|entry| entry.reading.is_some())
            .count()
    }

    /// Tells the operator once when saving begins to fail, and when it works again.
    fn report_save_result(&self, result: &Result<(), StateFileError>) {
        let failed = result.as_ref().err();
        if failed.is_some_and(|error| !matches!(error, StateFileError::Busy(_))) {
            (self.on_error)();
        }
        match (failed, self.is_failing.swap(failed.is_some(), Relaxed)) {
            (Some(error), false) => {
                warn!("readings would not survive a restart for now: failed to {error}")
            }
            (Some(error), true) => debug!("failed to {error}"),
            (None, true) => info!(file = %self.file.path().display(), "readings are saved again"),
            (None, false) => {}
        }
    }
}
