//! Floor 3: the one cell that holds the snapshot.
//!
//! Imports `domain` and `render`. `publish` (and its kin for derived sources, stores and reloads) is the only way in, `current`,
//! `snapshot` and `subscribe` the only ways out. Never reads a clock. Readers never wait: writers take turns among
//! themselves, and whoever finds the rendering out of date renders it again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{
    DerivedComputation, HealthChanges, MergeResult, Name, Outcome, Snapshot, SourceRecord,
    SourceSet, SourceState, Time,
};
use crate::render::{RenderMode, Rendering, render_summary};

/// The snapshot and its rendering, swapped as a whole.
#[derive(Debug)]
pub struct Cache {
    published: ArcSwap<PublishedSnapshot>,
    write_lock: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// Selections whose renderings are kept at once. Clients may ask for any of the many that there are.
const MAX_SELECTIONS: usize = 16;

/// One immutable snapshot, the latest rendering of the whole of it, and those of parts that were asked for.
#[derive(Debug)]
struct PublishedSnapshot {
    snapshot: Arc<Snapshot>,
    all_positions: Vec<usize>,
    timeout: Duration,
    rendering: ArcSwapOption<Rendering>,
    selections: ArcSwap<Vec<Arc<SelectionRendering>>>,
}

/// The rendering of some sources, or of all under another deadline.
#[derive(Debug)]
struct SelectionRendering {
    positions: Vec<usize>,
    timeout: Duration,
    rendering: Arc<Rendering>,
}

impl Cache {
    /// A cell with a first snapshot. `timeout` is what answers without `timeout=` state as theirs.
    pub fn new(snapshot: Snapshot, timeout: Duration) -> Self {
        let cell = ArcSwap::from_pointee(PublishedSnapshot::new(snapshot, timeout));
        Self {
            published: cell,
            write_lock: Mutex::new(()),
            changes: watch::Sender::new(0),
        }
    }

    /// The whole snapshot as an answer that is true at `now`. Renders at most once per few milliseconds and thread.
    pub fn current_rendering(&self, now: Time) -> Arc<Rendering> {
        let publication = self.published.load();
        if let Some(rendering) = &*publication.rendering.load()
            && now <= rendering.valid_until
        {
            return Arc::clone(rendering);
        }
        let mode = RenderMode::Snapshot {
            timeout: publication.timeout,
        };
        let rendering = Arc::new(render_summary(
            &publication.snapshot,
            &publication.all_positions,
            &mode,
            now,
        ));
        publication.rendering.store(Some(Arc::clone(&rendering)));
        rendering
    }

    /// The sources of these names in this order, or all of them, as an answer under this deadline, or the usual one, that
    /// is true at `now`. A name that nobody has any more is left out. The latest few are kept, so that whoever polls a
    /// part of the snapshot costs as little as who polls all of it.
    pub fn selected_rendering(
        &self,
        names: Option<&[Name]>,
        timeout: Option<Duration>,
        now: Time,
    ) -> Arc<Rendering> {
        let publication = self.published.load();
        let timeout = timeout.unwrap_or(publication.timeout);
        match names {
            None if timeout == publication.timeout => self.current_rendering(now),
            None => publication.render_selection(publication.all_positions.clone(), timeout, now),
            Some(names) => {
                let roster = publication.snapshot.source_set();
                let positions = names
                    .iter()
                    .filter_map(|name| roster.position(name.as_str()))
                    .collect();
                publication.render_selection(positions, timeout, now)
            }
        }
    }

    /// What is known.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.load().snapshot)
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
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        self.merge_and_plan(&outcome.source, |old| old.merge_outcome(outcome), plan)
    }

    /// Merges in what another replica knows of a source, newest wins, and plans as [`Cache::publish`] does. None if there
    /// is nothing new in it.
    pub fn publish_remote(
        &self,
        saved: &SourceRecord,
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        if !self.snapshot().has_news(saved) {
            return None;
        }
        self.merge_and_plan(&saved.name, |old| old.merge_remote(saved), plan)
    }

    /// Plans the next attempt at every source anew.
    pub fn replan_sources(&self, plan: impl Fn(&SourceState) -> Option<Time>) {
        self.update_snapshot(|old| old.replan_attempts(plan));
    }

    /// Takes a computation of a derived source.
    pub fn publish_derived(&self, name: &Name, derivation: &DerivedComputation) {
        self.update_snapshot(|old| old.with_computation(name, derivation));
    }

    /// Takes what was kept of an earlier run or by another one, newest wins.
    pub fn merge_restored(&self, kept: &[SourceRecord]) {
        self.update_snapshot(|old| old.restore(kept));
    }

    /// Takes over another configuration's sources; what is known of those that stay the same is kept.
    pub fn replace_sources(&self, roster: Arc<SourceSet>, timeout: Duration) {
        let _turn = self.write_lock.lock();
        let snapshot = self.snapshot().with_source_set(roster);
        self.published
            .store(Arc::new(PublishedSnapshot::new(snapshot, timeout)));
        self.changes.send_modify(|count| *count += 1);
    }

    fn merge_and_plan(
        &self,
        source: &Name,
        merge: impl FnOnce(&Snapshot) -> MergeResult,
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        let mut turns = None;
        self.update_snapshot(|old| {
            let MergeResult {
                snapshot,
                health_changes: turned,
                was_merged: taken,
            } = merge(old);
            if !taken {
                return snapshot;
            }
            turns = Some(turned);
            let next = snapshot
                .source_state(source.as_str())
                .and_then(|entry| plan(entry));
            snapshot.with_next_attempt(source, next)
        });
        turns
    }

    fn update_snapshot(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        let _turn = self.write_lock.lock();
        let old = self.published.load_full();
        self.published.store(Arc::new(PublishedSnapshot::new(
            change(&old.snapshot),
            old.timeout,
        )));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl PublishedSnapshot {
    fn new(snapshot: Snapshot, timeout: Duration) -> Self {
        let everything = (0..snapshot.source_states().len()).collect();
        let (rendering, selections) = (ArcSwapOption::empty(), ArcSwap::default());
        Self {
            snapshot: Arc::new(snapshot),
            all_positions: everything,
            timeout,
            rendering,
            selections,
        }
    }

    fn render_selection(
        &self,
        positions: Vec<usize>,
        timeout: Duration,
        now: Time,
    ) -> Arc<Rendering> {
        let kept = self.selections.load();
        let mut same = kept
            .iter()
            .filter(|one| one.timeout == timeout && one.positions == positions);
        if let Some(valid) = same.find(|one| now <= one.rendering.valid_until) {
            return Arc::clone(&valid.rendering);
        }
        let rendering = Arc::new(render_summary(
            &self.snapshot,
            &positions,
            &RenderMode::Snapshot { timeout },
            now,
        ));
        let selection = SelectionRendering {
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
        if all.len() >= MAX_SELECTIONS {
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
    use crate::domain::{FreshnessPolicy, Source, SourceKind};

    const NOW: Time = Time::from_millis(1_795_330_510_000);

    fn cache_with_sources(names: &[&str]) -> (Cache, Vec<Name>) {
        let names: Vec<_> = names.iter().map(|text| Name::new(text).unwrap()).collect();
        let source = |name: &Name| {
            let shelf = FreshnessPolicy {
                ttl: Duration::ZERO,
                max_stale: Duration::ZERO,
            };
            let kind = SourceKind::Derived {
                inputs: Vec::new(),
                extract: ".".into(),
            };
            Arc::new(Source {
                name: name.clone(),
                kind,
                freshness_policy: shelf,
                attribution: None,
            })
        };
        let roster = Arc::new(SourceSet::new(names.iter().map(source).collect()));
        (
            Cache::new(Snapshot::new(roster), Duration::from_secs(4)),
            names,
        )
    }

    #[test]
    fn valid_selection_is_reused() {
        let (cache, names) = cache_with_sources(&["a", "b"]);
        let ask =
            |names: &[Name], timeout, now| cache.selected_rendering(Some(names), timeout, now);
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
                first.valid_until.plus(Duration::from_millis(1))
            )
        ));
        assert_ne!(first.version, ask(&names[1..], None, NOW).version);
        let long = ask(&names[..1], Some(Duration::from_secs(9)), NOW);
        assert!(!Arc::ptr_eq(&first, &long) && first.body != long.body);
        assert!(Arc::ptr_eq(
            &cache.current_rendering(NOW),
            &cache.selected_rendering(None, None, NOW)
        ));
        assert!(Arc::ptr_eq(
            &cache.current_rendering(NOW),
            &cache.selected_rendering(None, Some(Duration::from_secs(4)), NOW)
        ));
    }

    #[test]
    fn publishing_clears_selections() {
        let (cache, names) = cache_with_sources(&["a", "b"]);
        let before = cache.selected_rendering(Some(&names[..1]), None, NOW);
        cache.merge_restored(&[]);
        assert!(!Arc::ptr_eq(
            &before,
            &cache.selected_rendering(Some(&names[..1]), None, NOW)
        ));
    }

    #[test]
    fn selection_count_is_capped() {
        let (cache, names) = cache_with_sources(&["a", "b", "c", "d", "e"]);
        for one in &names {
            for two in &names {
                for three in &names {
                    cache.selected_rendering(
                        Some(&[one.clone(), two.clone(), three.clone()]),
                        None,
                        NOW,
                    );
                }
            }
        }
        assert_eq!(
            cache.published.load().selections.load().len(),
            MAX_SELECTIONS
        );
    }
}
