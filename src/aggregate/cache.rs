//! The cache: an immutable snapshot of all sources with its rendered bytes, swapped as a whole.
//!
//! Readers never wait and the cache reads no clock. Writers (`publish`, `merge_restored`,
//! `replace_sources` and the like) exclude each other. A reader that finds a rendering expired
//! renders again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{
    ClockShift, DerivedComputation, Failure, HealthChanges, JsonData, MergeResult, Name, Outcome,
    Snapshot, SourceRecord, SourceSet, SourceState, Time,
};
use crate::process::SendBudget;
use crate::render::{LARGE_BODY_BYTES, RenderMode, Rendering, estimate_body_bytes, render_summary};

use super::reading_memory::ReadingMemory;
use super::selection_renderings::SelectionRenderings;

/// The newest snapshot and its renderings.
#[derive(Debug)]
pub struct Cache {
    published: ArcSwap<PublishedSnapshot>,
    write_lock: Mutex<()>,
    /// Counts publications.
    changes: watch::Sender<u64>,
    reading_memory: ReadingMemory,
    send_budget: Arc<SendBudget>,
}

/// One snapshot, the latest rendering of all its sources, and the latest ones of selections.
#[derive(Debug)]
struct PublishedSnapshot {
    snapshot: Arc<Snapshot>,
    all_positions: Vec<usize>,
    is_large: bool,
    /// The `timeout_s` of answers to requests without `timeout=`.
    timeout: Duration,
    /// Counts the renderings.
    send_budget: Arc<SendBudget>,
    rendering: ArcSwapOption<Rendering>,
    selections: ArcSwap<SelectionRenderings>,
}

impl Cache {
    /// Returns a cache with a first snapshot. `timeout` is the `timeout_s` of answers to requests
    /// without `timeout=`. Renderings are counted in `send_budget`.
    pub fn new(snapshot: Snapshot, timeout: Duration, send_budget: Arc<SendBudget>) -> Self {
        let published = PublishedSnapshot::new(snapshot, timeout, Arc::clone(&send_budget));
        Self {
            published: ArcSwap::from_pointee(published),
            send_budget,
            write_lock: Mutex::new(()),
            changes: watch::Sender::new(0),
            reading_memory: ReadingMemory::of_container(),
        }
    }

    /// Returns a rendering of all sources that is valid at `now`. Renders at most once per lifetime
    /// of a rendering and concurrent reader.
    pub fn current_rendering(&self, now: Time) -> Arc<Rendering> {
        let published = self.published.load();
        if let Some(rendering) = published.valid_rendering(now) {
            return rendering;
        }
        // Concurrent readers may render at the same time. The results are equal, and waiting for one
        // another would cost more.
        let rendering = published.render(&published.all_positions, published.timeout, now);
        published.rendering.store(Some(Arc::clone(&rendering)));
        rendering
    }

    /// Returns a rendering that is valid at `now`: of the sources with these names in this order, or
    /// of all; with this timeout, or the default one. A name without a source is left out. The
    /// latest renderings are kept, so that polling a selection costs no more than polling all
    /// sources.
    pub fn selected_rendering(
        &self,
        names: Option<&[Name]>,
        timeout: Option<Duration>,
        now: Time,
    ) -> Arc<Rendering> {
        let published = self.published.load();
        let timeout = timeout.unwrap_or(published.timeout);
        if names.is_none() && timeout == published.timeout {
            return self.current_rendering(now);
        }
        published.render_selection(published.select_positions(names), timeout, now)
    }

    /// Returns what [`Cache::selected_rendering`] returns, if that takes little time: if a rendering
    /// is valid at `now`, or the body is small.
    pub fn quick_rendering(
        &self,
        names: Option<&[Name]>,
        timeout: Option<Duration>,
        now: Time,
    ) -> Option<Arc<Rendering>> {
        let published = self.published.load();
        let timeout = timeout.unwrap_or(published.timeout);
        let positions = published.select_positions(names);
        let known = if names.is_none() && timeout == published.timeout {
            published.valid_rendering(now)
        } else {
            published.selections.load().find(&positions, timeout, now)
        };
        known.or_else(|| {
            let is_small = estimate_body_bytes(&published.snapshot, &positions) <= LARGE_BODY_BYTES;
            is_small.then(|| self.selected_rendering(names, Some(timeout), now))
        })
    }

    /// Returns whether the summary of all sources is too large to be rendered by a serving thread.
    pub fn is_large(&self) -> bool {
        self.published.load().is_large
    }

    /// Returns the budget that renderings are counted in.
    pub fn send_budget(&self) -> &Arc<SendBudget> {
        &self.send_budget
    }

    /// Returns the newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.load().snapshot)
    }

    /// Returns a receiver that changes with every publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Merges an outcome, newest wins. `plan` receives the merged state of the source and returns
    /// when the next attempt is due. Returns the changes of health, or `None` if the source does not
    /// exist any more.
    pub fn publish(
        &self,
        outcome: &Outcome,
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        self.merge_and_plan(&outcome.source, |old| old.merge_outcome(outcome), plan)
    }

    /// Merges the state that another replica published, newest wins, and plans like
    /// [`Cache::publish`]. Returns `None` if the state brings nothing new.
    pub fn publish_remote(
        &self,
        record: &SourceRecord,
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        // Without the write lock: most states that other replicas publish are known here already.
        if !self.snapshot().has_news(record) {
            return None;
        }
        self.merge_and_plan(&record.name, |old| old.merge_remote(record), plan)
    }

    /// Plans the next attempt of every source again.
    pub fn replan_sources(&self, plan: impl Fn(&SourceState) -> Option<Time>) {
        self.update_snapshot(|old| old.replan_attempts(plan));
    }

    /// Publishes the result of a computation of a derived source.
    pub fn publish_derived(&self, name: &Name, computation: &DerivedComputation) {
        self.update_snapshot(|old| old.with_computation(name, computation));
    }

    /// Shifts every time that is output.
    pub fn set_clock_shift(&self, shift: ClockShift) {
        self.update_snapshot(|old| old.with_clock_shift(shift));
    }

    /// Checks whether there is memory for the data of a source beside the other readings.
    ///
    /// # Errors
    /// The failure of the source.
    pub(super) fn check_memory(&self, source: &Name, data: &JsonData) -> Result<(), Failure> {
        self.reading_memory.check(&self.snapshot(), source, data)
    }

    /// Merges the states that a state file held, newest wins. Readings for which there is no memory are
    /// left out.
    pub fn merge_restored(&self, mut records: Vec<SourceRecord>) {
        self.reading_memory.retain_fitting(&mut records);
        self.update_snapshot(|old| old.restore(&records));
    }

    /// Replaces the sources after a reload. A source with the same identity keeps its state.
    pub fn replace_sources(&self, source_set: Arc<SourceSet>, timeout: Duration) {
        self.update(|old| {
            let snapshot = old.snapshot.with_source_set(source_set);
            PublishedSnapshot::new(snapshot, timeout, Arc::clone(&old.send_budget))
        });
    }

    fn merge_and_plan(
        &self,
        source: &Name,
        merge: impl FnOnce(&Snapshot) -> MergeResult,
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        let mut changes = None;
        self.update_snapshot(|old| {
            let MergeResult {
                snapshot,
                health_changes,
                was_merged,
            } = merge(old);
            if !was_merged {
                return snapshot;
            }
            changes = Some(health_changes);
            // In the same swap, so that no reader sees an outcome without the plan that follows.
            let next_attempt = snapshot
                .source_state(source.as_str())
                .and_then(|state| plan(state));
            snapshot.with_next_attempt(source, next_attempt)
        });
        changes
    }

    fn update_snapshot(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        self.update(|old| {
            let snapshot = change(&old.snapshot);
            PublishedSnapshot::new(snapshot, old.timeout, Arc::clone(&old.send_budget))
        });
    }

    fn update(&self, change: impl FnOnce(&PublishedSnapshot) -> PublishedSnapshot) {
        let _guard = self.write_lock.lock();
        let old = self.published.load_full();
        // Stored before the subscribers wake, which read the snapshot then.
        self.published.store(Arc::new(change(&old)));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl PublishedSnapshot {
    fn new(snapshot: Snapshot, timeout: Duration, send_budget: Arc<SendBudget>) -> Self {
        let all_positions: Vec<usize> = (0..snapshot.source_states().len()).collect();
        Self {
            is_large: estimate_body_bytes(&snapshot, &all_positions) > LARGE_BODY_BYTES,
            all_positions,
            snapshot: Arc::new(snapshot),
            timeout,
            send_budget,
            rendering: ArcSwapOption::empty(),
            selections: ArcSwap::default(),
        }
    }

    fn render(&self, positions: &[usize], timeout: Duration, now: Time) -> Arc<Rendering> {
        let mode = RenderMode::Snapshot { timeout };
        let rendering = render_summary(&self.snapshot, positions, &mode, now);
        Arc::new(rendering.counted_in(&self.send_budget))
    }

    /// Returns the positions of the sources with these names, or of all.
    fn select_positions(&self, names: Option<&[Name]>) -> Vec<usize> {
        let Some(names) = names else {
            return self.all_positions.clone();
        };
        let source_set = self.snapshot.source_set();
        let positions = names
            .iter()
            .filter_map(|name| source_set.position(name.as_str()));
        positions.collect()
    }

    fn valid_rendering(&self, now: Time) -> Option<Arc<Rendering>> {
        let rendering = self.rendering.load_full();
        rendering.filter(|rendering| now <= rendering.valid_until)
    }

    fn render_selection(
        &self,
        positions: Vec<usize>,
        timeout: Duration,
        now: Time,
    ) -> Arc<Rendering> {
        let known = self.selections.load();
        if let Some(rendering) = known.find(&positions, timeout, now) {
            return rendering;
        }
        let rendering = self.render(&positions, timeout, now);
        let selections = known.with(positions, timeout, Arc::clone(&rendering), now);
        // Of two concurrent stores one is lost, and its selection is rendered again on demand.
        self.selections.store(Arc::new(selections));
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
            Arc::new(Source {
                name: name.clone(),
                kind: SourceKind::Derived {
                    inputs: Vec::new(),
                    extract: ".".into(),
                },
                freshness_policy: FreshnessPolicy {
                    ttl: Duration::ZERO,
                    max_stale: Duration::ZERO,
                },
                attribution: None,
            })
        };
        let source_set = Arc::new(SourceSet::new(names.iter().map(source).collect()));
        let cache = Cache::new(
            Snapshot::new(source_set),
            Duration::from_secs(4),
            SendBudget::new(None),
        );
        (cache, names)
    }

    #[test]
    fn valid_selection_is_reused() {
        let (cache, names) = cache_with_sources(&["a", "b"]);
        let render =
            |names: &[Name], timeout, now| cache.selected_rendering(Some(names), timeout, now);
        let first = render(&names[..1], None, NOW);
        let same = render(&names[..1], None, first.valid_until);
        assert!(Arc::ptr_eq(&first, &same));
        let expired = first.valid_until.plus(Duration::from_millis(1));
        let next = render(&names[..1], None, expired);
        assert!(!Arc::ptr_eq(&first, &next));
        assert_ne!(first.version, render(&names[1..], None, NOW).version);
        let long = render(&names[..1], Some(Duration::from_secs(9)), NOW);
        assert!(!Arc::ptr_eq(&first, &long) && first.body != long.body);
    }

    #[test]
    fn default_selection_is_current_rendering() {
        let (cache, _) = cache_with_sources(&["a", "b"]);
        for timeout in [None, Some(Duration::from_secs(4))] {
            assert!(Arc::ptr_eq(
                &cache.current_rendering(NOW),
                &cache.selected_rendering(None, timeout, NOW)
            ));
        }
    }

    #[test]
    fn publishing_clears_selections() {
        let (cache, names) = cache_with_sources(&["a", "b"]);
        let before = cache.selected_rendering(Some(&names[..1]), None, NOW);
        cache.merge_restored(Vec::new());
        assert!(!Arc::ptr_eq(
            &before,
            &cache.selected_rendering(Some(&names[..1]), None, NOW)
        ));
    }

    #[test]
    fn large_summary_is_not_quick() {
        let (cache, names) = cache_with_sources(&["a", "b"]);
        let is_quick = |names| cache.quick_rendering(names, None, NOW).is_some();
        assert!(!cache.is_large() && is_quick(None));
        let data = JsonData::from_checked(format!("\"{}\"", "x".repeat(LARGE_BODY_BYTES)));
        let computation = DerivedComputation {
            identity: cache.snapshot().source_set().identity(0),
            input_versions: Vec::new(),
            computed_at: NOW,
            duration: Duration::ZERO,
            result: Ok(data),
        };
        cache.publish_derived(&names[0], &computation);
        assert!(cache.is_large() && !is_quick(None) && is_quick(Some(&names[1..])));
        let rendering = cache.selected_rendering(Some(&names[..1]), None, NOW);
        let quick = cache.quick_rendering(Some(&names[..1]), None, NOW).unwrap();
        assert!(
            Arc::ptr_eq(&rendering, &quick),
            "a valid rendering costs nothing"
        );
    }
}
