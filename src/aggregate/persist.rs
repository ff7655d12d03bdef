//! The task that writes the state file, and its restoration at the start.
//!
//! It subscribes to the cache and saves at most once a second, off the serving threads, and once
//! more at the end. A failed save costs readings after a restart, never an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::metrics::StoreErrorCounter;
use crate::process::Clock;
use crate::store::{StateFile, StateFileContent, StateFileError};

use super::cache::Cache;

/// The least time between two saves.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Time between a failed save and the next one.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Saves the snapshots of the cache in the state file.
pub struct Persister {
    file: StateFile,
    cache: Arc<Cache>,
    clock: Clock,
    /// Counts failed operations of the file.
    errors: StoreErrorCounter,
    /// Whether the latest save failed, which is logged once.
    is_failing: AtomicBool,
    /// Whether the latest save left sources out, which is logged once.
    is_full: AtomicBool,
}

impl Persister {
    /// Returns a persister for the snapshots of `cache`, without reading or writing.
    pub fn new(
        file: StateFile,
        cache: Arc<Cache>,
        clock: Clock,
        errors: StoreErrorCounter,
    ) -> Self {
        Self {
            file,
            cache,
            clock,
            errors,
            is_failing: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        }
    }

    /// Merges the content of the file into the cache; returns whether it held any readings. Blocks
    /// on disk I/O.
    pub fn restore_state(&self) -> bool {
        // Locked first: `load` renames a damaged file only if this process holds the lock.
        let locked = self.file.acquire_write_lock().map(drop);
        let restored = self.read_state();
        self.report_result(&locked);
        restored > 0
    }

    /// Saves after every publication, until `stop` is cancelled. The last publications before the
    /// end need one more [`Persister::save_now`].
    pub async fn run(self: &Arc<Self>, stop: &CancellationToken) {
        let mut changes = self.cache.subscribe();
        let mut is_saved = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                result = changes.changed(), if is_saved => if result.is_err() { return },
                () = sleep(RETRY_DELAY), if !is_saved => {}
            }
            // Before the save, so that a publication during it causes another one.
            changes.mark_unchanged();
            is_saved = self.save_now().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(SAVE_INTERVAL) => {}
            }
        }
    }

    /// Saves the current snapshot; returns whether that succeeded.
    pub async fn save_now(self: &Arc<Self>) -> bool {
        let persister = Arc::clone(self);
        let save = spawn_blocking(move || {
            let result = persister.write_state();
            persister.report_result(&result);
            result.is_ok()
        });
        // A panic counts as a failed save and is in the log already.
        save.await.unwrap_or(false)
    }

    fn write_state(&self) -> Result<(), StateFileError> {
        // A process that takes the file over from another one, in a rolling restart, first merges
        // the readings that the other one has saved since.
        if self.file.acquire_write_lock()? {
            self.read_state();
        }
        let omitted = self.file.save(&StateFileContent {
            source_records: self.cache.snapshot().source_records(),
            taken_at: self.clock.timestamps(),
        })?;
        if omitted > 0 && !self.is_full.swap(true, Relaxed) {
            warn!(
                sources = omitted,
                "readings would not survive a restart: the state file would exceed its limit"
            );
        }
        self.is_full.store(omitted > 0, Relaxed);
        Ok(())
    }

    /// Merges the content of the file; returns the number of sources that gained a reading.
    fn read_state(&self) -> usize {
        let loaded = self.file.load();
        for warning in &loaded.warnings {
            warn!("{warning}");
        }
        self.errors.inc_by(loaded.error_count);
        let Some(content) = loaded.content else {
            return 0;
        };
        let before = self.count_readings();
        self.cache
            .merge_restored(content.into_records_at(&self.clock.timestamps()));
        let restored = self.count_readings().saturating_sub(before);
        if restored > 0 {
            info!(file = %self.file.path().display(), sources = restored, "restored readings");
        }
        restored
    }

    fn count_readings(&self) -> usize {
        let snapshot = self.cache.snapshot();
        let states = snapshot.source_states().iter();
        states.filter(|state| state.reading.is_some()).count()
    }

    /// Counts a failure, and logs the first one after a success and the first success after it.
    fn report_result(&self, result: &Result<(), StateFileError>) {
        let error = result.as_ref().err();
        // A lock that another process holds is not a failed operation.
        if error.is_some_and(|error| !matches!(error, StateFileError::Busy(_))) {
            self.errors.inc();
        }
        match (error, self.is_failing.swap(error.is_some(), Relaxed)) {
            (Some(error), false) => {
                warn!("readings would not survive a restart: failed to {error}");
            }
            (Some(error), true) => debug!("failed to {error}"),
            (None, true) => info!(file = %self.file.path().display(), "saving readings again"),
            (None, false) => {}
        }
    }
}
