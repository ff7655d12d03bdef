//! The cache: an immutable snapshot of all sources with its rendered bytes, swapped as a whole.
//!
//! Readers never wait and the cache reads no clock. Writers (`publish`, `merge_restored`,
//! `replace_sources` and the like) exclude each other. A reader that finds a rendering expired
//! renders again.

use std::borrow::Cow;
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
use crate::render::{
    BodyForm, LARGE_BODY_BYTES, RenderMode, Rendering, estimate_body_bytes, render_summary,
};

use super::reading_memory::ReadingMemory;
use super::selection_renderings::{Selection, SelectionRenderings};

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

/// One snapshot, the latest rendering without a selection, and the latest ones of selections.
#[derive(Debug)]
struct PublishedSnapshot {
    /// Number of publications before this one.
    publication: u64,
    snapshot: Arc<Snapshot>,
    all_positions: Arc<[usize]>,
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
        let rendering = published.render(&Selection::default(), now);
        published.rendering.store(Some(Arc::clone(&rendering)));
        rendering
    }

    /// Returns a rendering of `selection` that is valid at `now`. The latest renderings are kept, so that
    /// polling a selection costs no more than polling all sources.
    pub fn selected_rendering(&self, selection: &Selection, now: Time) -> Arc<Rendering> {
        let published = self.published.load();
        if published.is_default(selection) {
            return self.current_rendering(now);
        }
        published.render_selection(selection, now)
    }

    /// Returns what [`Cache::selected_rendering`] returns, if that takes little time: if a rendering
    /// is valid at `now`, or the body is small.
    pub fn quick_rendering(&self, selection: &Selection, now: Time) -> Option<Arc<Rendering>> {
        let published = self.published.load();
        let known = if published.is_default(selection) {
            published.valid_rendering(now)
        } else {
            published.selections.load().find(selection, now)
        };
        known.or_else(|| {
            let positions = published.select_positions(selection);
            let bytes = estimate_body_bytes(&published.snapshot, &positions, &selection.form);
            (bytes <= LARGE_BODY_BYTES).then(|| self.selected_rendering(selection, now))
        })
    }

    /// Returns the budget that renderings are counted in.
    pub fn send_budget(&self) -> &Arc<SendBudget> {
        &self.send_budget
    }

    /// Returns the newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.load().snapshot)
    }

    /// Returns a number that is another one after each publication. Takes no lock.
    pub fn publication(&self) -> u64 {
        self.published.load().publication
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
        self.merge_and_plan(|old| old.merge_outcome(outcome), plan)
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
        self.merge_and_plan(|old| old.merge_remote(record), plan)
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
        merge: impl FnOnce(&Snapshot) -> MergeResult,
        plan: impl FnOnce(&SourceState) -> Option<Time>,
    ) -> Option<HealthChanges> {
        let mut changes = None;
        self.update_snapshot(|old| {
            let MergeResult {
                snapshot,
                health_changes,
                position,
            } = merge(old);
            let Some(position) = position else {
                return snapshot;
            };
            changes = Some(health_changes);
            // In the same swap, so that no reader sees an outcome without the plan that follows.
            let next_attempt = plan(&snapshot.source_states()[position]);
            snapshot.with_next_attempt(position, next_attempt)
        });
        changes
    }

    fn update_snapshot(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        self.update(|old| {
            let snapshot = change(&old.snapshot);
            old.with_snapshot(snapshot)
        });
    }

    fn update(&self, change: impl FnOnce(&PublishedSnapshot) -> PublishedSnapshot) {
        let _guard = self.write_lock.lock();
        let old = self.published.load_full();
        let mut new = change(&old);
        new.publication = old.publication + 1;
        // Stored before the subscribers wake, which read the snapshot then.
        self.published.store(Arc::new(new));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl PublishedSnapshot {
    fn new(snapshot: Snapshot, timeout: Duration, send_budget: Arc<SendBudget>) -> Self {
        Self {
            publication: 0,
            all_positions: (0..snapshot.source_states().len()).collect(),
            snapshot: Arc::new(snapshot),
            timeout,
            send_budget,
            rendering: ArcSwapOption::empty(),
            selections: ArcSwap::default(),
        }
    }

    /// Returns a later `snapshot` of the same sources, without renderings.
    fn with_snapshot(&self, snapshot: Snapshot) -> Self {
        Self {
            publication: self.publication,
            all_positions: Arc::clone(&self.all_positions),
            snapshot: Arc::new(snapshot),
            timeout: self.timeout,
            send_budget: Arc::clone(&self.send_budget),
            rendering: ArcSwapOption::empty(),
            selections: ArcSwap::default(),
        }
    }

    fn render(&self, selection: &Selection, now: Time) -> Arc<Rendering> {
        let mode = RenderMode::Snapshot {
            timeout: selection.timeout.unwrap_or(self.timeout),
        };
        let positions = self.select_positions(selection);
        let form = &selection.form;
        let rendering = render_summary(&self.snapshot, &positions, form, &mode, now);
        Arc::new(rendering.counted_in(&self.send_budget))
    }

    /// Returns whether `selection` is what requests without parameters receive.
    fn is_default(&self, selection: &Selection) -> bool {
        let Selection {
            names,
            timeout,
            form,
        } = selection;
        names.is_none()
            && timeout.is_none_or(|timeout| timeout == self.timeout)
            && *form == BodyForm::Summary
    }

    fn select_positions(&self, selection: &Selection) -> Cow<'_, [usize]> {
        let Some(names) = &selection.names else {
            return Cow::Borrowed(&self.all_positions);
        };
        let source_set = self.snapshot.source_set();
        let positions = names
            .iter()
            .filter_map(|name| source_set.position(name.as_str()));
        Cow::Owned(positions.collect())
    }

    fn valid_rendering(&self, now: Time) -> Option<Arc<Rendering>> {
        let rendering = self.rendering.load_full();
        rendering.filter(|rendering| now <= rendering.valid_until)
    }

    fn render_selection(&self, selection: &Selection, now: Time) -> Arc<Rendering> {
        let known = self.selections.load();
        if let Some(rendering) = known.find(selection, now) {
            return rendering;
        }
        let rendering = self.render(selection, now);
        // Requests for paths that do not exist must not push out those that do.
        if rendering.value_flaw.is_none() {
            let selections = known.with(selection.clone(), Arc::clone(&rendering), now);
            // Of two concurrent stores one is lost, and its selection is rendered again on demand.
            self.selections.store(Arc::new(selections));
        }
        rendering
    }
}

#[cfg(test)]
mod tests;
