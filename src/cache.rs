//! Floor 3: the one cell that holds the snapshot.
//!
//! Imports `domain` and `render`. `publish` (and its kin for derived sources, stores and reloads) is the only way in, `current`,
//! `snapshot` and `subscribe` the only ways out. Never reads a clock. Readers never wait: writers take turns among
//! themselves, and whoever finds the rendering out of date renders it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use crate::domain::{Derivation, Entry, Merged, Name, Outcome, Roster, Saved, Snapshot, Time, Turn};
use crate::render::{Mode, Rendering, render};

/// The snapshot and its rendering, swapped as a whole.
#[derive(Debug)]
pub struct Cache {
    cell: ArcSwap<Publication>,
    writer: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// One immutable snapshot and the latest rendering of the whole of it.
#[derive(Debug)]
struct Publication {
    snapshot: Arc<Snapshot>,
    everything: Vec<usize>,
    timeout: Duration,
    rendering: ArcSwapOption<Rendering>,
}

impl Cache {
    /// A cell with a first snapshot. `timeout` is what answers without `timeout=` state as theirs.
    pub fn new(snapshot: Snapshot, timeout: Duration) -> Self {
        let cell = ArcSwap::from_pointee(Publication::new(snapshot, timeout));
        Self { cell, writer: Mutex::new(()), changes: watch::Sender::new(0) }
    }

    /// The whole snapshot as an answer that is true at `now`. Renders at most once per few milliseconds and thread.
    pub fn current(&self, now: Time) -> Arc<Rendering> {
        let publication = self.cell.load();
        if let Some(rendering) = &*publication.rendering.load()
            && now <= rendering.valid_until
        {
            return Arc::clone(rendering);
        }
        let mode = Mode::Snapshot { timeout: publication.timeout };
        let rendering = Arc::new(render(&publication.snapshot, &publication.everything, &mode, now));
        publication.rendering.store(Some(Arc::clone(&rendering)));
        rendering
    }

    /// What is known.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.cell.load().snapshot)
    }

    /// A counter that grows with every publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Merges an outcome in, newest wins. `plan` is told what is then known of the source and says when it will be
    /// asked next. None if the outcome belongs to nobody here any more.
    pub fn publish(&self, outcome: &Outcome, plan: impl FnOnce(&Entry) -> Option<Time>) -> Option<Turn> {
        let mut turn = None;
        self.swap(|old| {
            let Merged { snapshot, turn: turned, taken } = old.merge(outcome);
            if !taken {
                return snapshot;
            }
            turn = Some(turned);
            let next = snapshot.entry(outcome.source.as_str()).and_then(|entry| plan(entry));
            snapshot.planned(&outcome.source, next)
        });
        turn
    }

    /// Takes a computation of a derived source.
    pub fn publish_derived(&self, name: &Name, derivation: &Derivation) {
        self.swap(|old| old.derive(name, derivation));
    }

    /// Takes what was kept of an earlier run or by another one, newest wins.
    pub fn restore(&self, kept: &[Saved]) {
        self.swap(|old| old.restore(kept));
    }

    /// Takes over another configuration's sources; what is known of those that stay the same is kept.
    pub fn adopt(&self, roster: Arc<Roster>, timeout: Duration) {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot().under(roster);
        self.cell.store(Arc::new(Publication::new(snapshot, timeout)));
        self.changes.send_modify(|count| *count += 1);
    }

    fn swap(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.cell.load_full();
        self.cell.store(Arc::new(Publication::new(change(&old.snapshot), old.timeout)));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Publication {
    fn new(snapshot: Snapshot, timeout: Duration) -> Self {
        let everything = (0..snapshot.entries().len()).collect();
        Self { snapshot: Arc::new(snapshot), everything, timeout, rendering: ArcSwapOption::empty() }
    }
}
