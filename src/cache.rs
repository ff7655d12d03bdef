//! Floor 3: the one cell that holds the snapshot.
//!
//! Imports `domain` and `render`. `publish` (and its kin for derived sources, stores and reloads) is the only way in, `current`,
//! `snapshot` and `subscribe` the only ways out. Never reads a clock. Readers never wait: writers take turns among
//! themselves, and whoever finds the rendering out of date renders it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use crate::domain::{
    Derivation, Entry, Merged, Name, Outcome, Roster, Saved, Snapshot, Time, Turns,
};
use crate::render::{Mode, Rendering, render};

/// The snapshot and its rendering, swapped as a whole.
#[derive(Debug)]
pub struct Cache {
    cell: ArcSwap<Publication>,
    writer: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// Selections whose renderings are kept at once. Clients may ask for any of the many that there are.
const SELECTIONS: usize = 16;

/// One immutable snapshot, the latest rendering of the whole of it, and those of parts that were asked for.
#[derive(Debug)]
struct Publication {
    snapshot: Arc<Snapshot>,
    everything: Vec<usize>,
    timeout: Duration,
    rendering: ArcSwapOption<Rendering>,
    selections: ArcSwap<Vec<Arc<Selection>>>,
}

/// The rendering of some sources, or of all under another deadline.
#[derive(Debug)]
struct Selection {
    positions: Vec<usize>,
    timeout: Duration,
    rendering: Arc<Rendering>,
}

impl Cache {
    /// A cell with a first snapshot. `timeout` is what answers without `timeout=` state as theirs.
    pub fn new(snapshot: Snapshot, timeout: Duration) -> Self {
        let cell = ArcSwap::from_pointee(Publication::new(snapshot, timeout));
        Self {
            cell,
            writer: Mutex::new(()),
            changes: watch::Sender::new(0),
        }
    }

    /// The whole snapshot as an answer that is true at `now`. Renders at most once per few milliseconds and thread.
    pub fn current(&self, now: Time) -> Arc<Rendering> {
        let publication = self.cell.load();
        if let Some(rendering) = &*publication.rendering.load()
            && now <= rendering.valid_until
        {
            return Arc::clone(rendering);
        }
        let mode = Mode::Snapshot {
            timeout: publication.timeout,
        };
        let rendering = Arc::new(render(
            &publication.snapshot,
            &publication.everything,
            &mode,
            now,
        ));
        publication.rendering.store(Some(Arc::clone(&rendering)));
        rendering
    }

    /// The sources of these names in this order, or all of them, as an answer under this deadline, or the usual one, that
    /// is true at `now`. A name that nobody has any more is left out. The latest few are kept, so that whoever polls a
    /// part of the snapshot costs as little as who polls all of it.
    pub fn selected(
        &self,
        names: Option<&[Name]>,
        timeout: Option<Duration>,
        now: Time,
    ) -> Arc<Rendering> {
        let publication = self.cell.load();
        let timeout = timeout.unwrap_or(publication.timeout);
        match names {
            None if timeout == publication.timeout => self.current(now),
            None => publication.select(publication.everything.clone(), timeout, now),
            Some(names) => {
                let roster = publication.snapshot.roster();
                let positions = names
                    .iter()
                    .filter_map(|name| roster.position(name.as_str()))
                    .collect();
                publication.select(positions, timeout, now)
            }
        }
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
    pub fn publish(
        &self,
        outcome: &Outcome,
        plan: impl FnOnce(&Entry) -> Option<Time>,
    ) -> Option<Turns> {
        self.take(&outcome.source, |old| old.merge(outcome), plan)
    }

    /// Merges in what another replica knows of a source, newest wins, and plans as [`Cache::publish`] does. None if there
    /// is nothing new in it.
    pub fn hear(&self, saved: &Saved, plan: impl FnOnce(&Entry) -> Option<Time>) -> Option<Turns> {
        if !self.snapshot().learns_from(saved) {
            return None;
        }
        self.take(&saved.name, |old| old.hear(saved), plan)
    }

    /// Plans the next attempt at every source anew.
    pub fn replan(&self, plan: impl Fn(&Entry) -> Option<Time>) {
        self.swap(|old| old.replanned(plan));
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
        self.cell
            .store(Arc::new(Publication::new(snapshot, timeout)));
        self.changes.send_modify(|count| *count += 1);
    }

    fn take(
        &self,
        source: &Name,
        merge: impl FnOnce(&Snapshot) -> Merged,
        plan: impl FnOnce(&Entry) -> Option<Time>,
    ) -> Option<Turns> {
        let mut turns = None;
        self.swap(|old| {
            let Merged {
                snapshot,
                turns: turned,
                taken,
            } = merge(old);
            if !taken {
                return snapshot;
            }
            turns = Some(turned);
            let next = snapshot
                .entry(source.as_str())
                .and_then(|entry| plan(entry));
            snapshot.planned(source, next)
        });
        turns
    }

    fn swap(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.cell.load_full();
        self.cell.store(Arc::new(Publication::new(
            change(&old.snapshot),
            old.timeout,
        )));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Publication {
    fn new(snapshot: Snapshot, timeout: Duration) -> Self {
        let everything = (0..snapshot.entries().len()).collect();
        let (rendering, selections) = (ArcSwapOption::empty(), ArcSwap::default());
        Self {
            snapshot: Arc::new(snapshot),
            everything,
            timeout,
            rendering,
            selections,
        }
    }

    fn select(&self, positions: Vec<usize>, timeout: Duration, now: Time) -> Arc<Rendering> {
        let kept = self.selections.load();
        let mut same = kept
            .iter()
            .filter(|one| one.timeout == timeout && one.positions == positions);
        if let Some(valid) = same.find(|one| now <= one.rendering.valid_until) {
            return Arc::clone(&valid.rendering);
        }
        let rendering = Arc::new(render(
            &self.snapshot,
            &positions,
            &Mode::Snapshot { timeout },
            now,
        ));
        let selection = Selection {
            positions,
            timeout,
            rendering: Arc::clone(&rendering),
        };
        // Of two that come at once one is forgotten, and rendered again if it is asked for again.
        let mut all: Vec<_> = kept
            .iter()
            .filter(|one| now <= one.rendering.valid_until)
            .cloned()
            .collect();
        if all.len() >= SELECTIONS {
            all.remove(0);
        }
        all.push(Arc::new(selection));
        self.selections.store(Arc::new(all));
        rendering
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Kind, Shelf, Source};

    const NOW: Time = Time::from_millis(1_795_330_510_000);

    fn cache(names: &[&str]) -> (Cache, Vec<Name>) {
        let names: Vec<_> = names.iter().map(|text| Name::new(text).unwrap()).collect();
        let source = |name: &Name| {
            let shelf = Shelf {
                ttl: Duration::ZERO,
                max_stale: Duration::ZERO,
            };
            let kind = Kind::Derived {
                from: Vec::new(),
                extract: ".".into(),
            };
            Arc::new(Source {
                name: name.clone(),
                kind,
                shelf,
                attribution: None,
            })
        };
        let roster = Arc::new(Roster::new(names.iter().map(source).collect()));
        (
            Cache::new(Snapshot::new(roster), Duration::from_secs(4)),
            names,
        )
    }

    #[test]
    fn a_selection_is_rendered_once_while_it_is_true() {
        let (cache, names) = cache(&["a", "b"]);
        let ask = |names: &[Name], timeout, now| cache.selected(Some(names), timeout, now);
        let first = ask(&names[..1], None, NOW);
        assert!(Arc::ptr_eq(
            &first,
            &ask(&names[..1], None, first.valid_until)
        ));
        assert!(!Arc::ptr_eq(
            &first,
            &ask(
                &names[..1],
                None,
                first.valid_until.after(Duration::from_millis(1))
            )
        ));
        assert_ne!(first.version, ask(&names[1..], None, NOW).version);
        let long = ask(&names[..1], Some(Duration::from_secs(9)), NOW);
        assert!(!Arc::ptr_eq(&first, &long) && first.body != long.body);
        assert!(Arc::ptr_eq(
            &cache.current(NOW),
            &cache.selected(None, None, NOW)
        ));
        assert!(Arc::ptr_eq(
            &cache.current(NOW),
            &cache.selected(None, Some(Duration::from_secs(4)), NOW)
        ));
    }

    #[test]
    fn what_is_published_is_seen_in_selections_at_once() {
        let (cache, names) = cache(&["a", "b"]);
        let before = cache.selected(Some(&names[..1]), None, NOW);
        cache.restore(&[]);
        assert!(!Arc::ptr_eq(
            &before,
            &cache.selected(Some(&names[..1]), None, NOW)
        ));
    }

    #[test]
    fn few_selections_are_kept_however_many_are_asked_for() {
        let (cache, names) = cache(&["a", "b", "c", "d", "e"]);
        for one in &names {
            for two in &names {
                for three in &names {
                    cache.selected(Some(&[one.clone(), two.clone(), three.clone()]), None, NOW);
                }
            }
        }
        assert_eq!(cache.cell.load().selections.load().len(), SELECTIONS);
    }
}
