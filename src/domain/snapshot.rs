//! Immutable state of all sources.

use std::sync::Arc;

use super::clock_shift::ClockShift;
use super::health_change::HealthChanges;
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::{DerivedComputation, Outcome};
use super::source_record::SourceRecord;
use super::source_set::SourceSet;
use super::source_state::SourceState;
use super::timestamp::Time;

/// Immutable state of all sources, replaced as a whole. A merge returns a new snapshot, which
/// shares the unchanged states.
///
/// A merge accepts an outcome or a record only if its [`SourceIdentity`] is that of the current
/// definition: a reload may have removed the source or replaced its filters.
#[derive(Debug, Clone)]
pub struct Snapshot {
    source_set: Arc<SourceSet>,
    /// One state per source, in the order of `source_set`.
    source_states: Vec<Arc<SourceState>>,
    clock_shift: ClockShift,
}

/// Result of a merge into a snapshot.
#[derive(Debug)]
pub struct MergeResult {
    /// The new snapshot.
    pub snapshot: Snapshot,
    /// Changes of the health of the source.
    pub health_changes: HealthChanges,
    /// The position of the source; `None` if the identity does not match. The snapshot is unchanged then.
    pub position: Option<usize>,
}

impl Snapshot {
    /// Returns the snapshot before the first attempts.
    pub fn new(source_set: Arc<SourceSet>) -> Self {
        let source_states = source_set
            .sources()
            .iter()
            .map(|source| Arc::new(SourceState::new(Arc::clone(source), true)))
            .collect();
        Self {
            source_set,
            source_states,
            clock_shift: ClockShift::default(),
        }
    }

    /// Returns the shift of every time that is output.
    pub fn clock_shift(&self) -> ClockShift {
        self.clock_shift
    }

    /// Returns this snapshot with another shift of every time that is output.
    #[must_use]
    pub fn with_clock_shift(&self, clock_shift: ClockShift) -> Self {
        Self {
            clock_shift,
            ..self.clone()
        }
    }

    /// Returns the definitions of the sources.
    pub fn source_set(&self) -> &Arc<SourceSet> {
        &self.source_set
    }

    /// Returns the state of each source, in the order of the source set.
    pub fn source_states(&self) -> &[Arc<SourceState>] {
        &self.source_states
    }

    /// Returns the state of the source of this name.
    pub fn source_state(&self, name: &str) -> Option<&Arc<SourceState>> {
        let position = self.source_set.position(name)?;
        Some(&self.source_states[position])
    }

    /// Returns this snapshot with `outcome` merged.
    #[must_use]
    pub fn merge_outcome(&self, outcome: &Outcome) -> MergeResult {
        self.merge_state(&outcome.source, outcome.identity, |state| {
            state.merge_outcome(outcome)
        })
    }

    /// Returns this snapshot with the record of another replica merged.
    #[must_use]
    pub fn merge_remote(&self, record: &SourceRecord) -> MergeResult {
        self.merge_state(&record.name, record.identity, |state| {
            state.merge_remote(record)
        })
    }

    fn merge_state(
        &self,
        name: &Name,
        identity: SourceIdentity,
        merge: impl FnOnce(&SourceState) -> (SourceState, HealthChanges),
    ) -> MergeResult {
        let mut snapshot = self.clone();
        let Some(position) = self.position_of(name, identity) else {
            return MergeResult {
                snapshot,
                health_changes: HealthChanges::default(),
                position: None,
            };
        };
        let (state, health_changes) = merge(&self.source_states[position]);
        snapshot.source_states[position] = Arc::new(state);
        MergeResult {
            snapshot,
            health_changes,
            position: Some(position),
        }
    }

    /// Returns this snapshot with saved records merged.
    #[must_use]
    pub fn restore(&self, records: &[SourceRecord]) -> Self {
        let mut snapshot = self.clone();
        for record in records {
            if let Some(position) = self.position_of(&record.name, record.identity) {
                let state = &mut snapshot.source_states[position];
                *state = Arc::new(state.restore(record));
            }
        }
        snapshot
    }

    /// Returns this snapshot with `computation` as the latest one of the derived source `name`.
    #[must_use]
    pub fn with_computation(&self, name: &Name, computation: &DerivedComputation) -> Self {
        let mut snapshot = self.clone();
        if let Some(position) = self.position_of(name, computation.identity) {
            let state = &mut snapshot.source_states[position];
            *state = Arc::new(state.with_computation(computation));
        }
        snapshot
    }

    /// Returns this snapshot under another configuration. A source whose identity is unchanged
    /// keeps its state. Any other source starts without a state, and responses do not wait for it.
    #[must_use]
    pub fn with_source_set(&self, source_set: Arc<SourceSet>) -> Self {
        let source_states = source_set
            .sources()
            .iter()
            .enumerate()
            .map(|(position, source)| {
                let known = self.position_of(&source.name, source_set.identity(position));
                // A new source must not delay responses that need no wait before the reload.
                Arc::new(match known {
                    Some(known) => self.source_states[known].with_source(source),
                    None => SourceState::new(Arc::clone(source), false),
                })
            })
            .collect();
        Self {
            source_set,
            source_states,
            clock_shift: self.clock_shift,
        }
    }

    /// Returns this snapshot with the next attempt at the source at `position` planned for `next`.
    #[must_use]
    pub fn with_next_attempt(mut self, position: usize, next: Option<Time>) -> Self {
        let state = Arc::make_mut(&mut self.source_states[position]);
        state.history.next_attempt = next;
        self
    }

    /// Returns this snapshot with every planned attempt planned anew by `plan`, which returns
    /// `None` to keep the time. A planned time is never before the end of a `Retry-After`.
    #[must_use]
    pub fn replan_attempts(&self, plan: impl Fn(&SourceState) -> Option<Time>) -> Self {
        let mut snapshot = self.clone();
        for shared in &mut snapshot.source_states {
            // Without a planned time the attempt is due now; a plan would delay it.
            if shared.history.next_attempt.is_none() {
                continue;
            }
            let mut state = SourceState::clone(shared);
            state.history.next_attempt = plan(&state).or(state.history.next_attempt);
            *shared = Arc::new(state.clamp_to_retry_after());
        }
        snapshot
    }

    /// Returns whether the record of another replica has news for this snapshot, or whether the
    /// source has no planned attempt yet.
    pub fn has_news(&self, record: &SourceRecord) -> bool {
        self.position_of(&record.name, record.identity)
            .map(|position| &self.source_states[position])
            .is_some_and(|state| state.history.next_attempt.is_none() || state.has_news(record))
    }

    /// Returns the record of the source `name`; `None` if there is nothing to keep.
    pub fn source_record(&self, name: &Name) -> Option<SourceRecord> {
        let position = self.source_set.position(name.as_str())?;
        self.source_states[position].to_record(self.source_set.identity(position))
    }

    /// Returns the records of all sources that have something to keep.
    pub fn source_records(&self) -> Vec<SourceRecord> {
        self.source_states
            .iter()
            .enumerate()
            .filter_map(|(position, state)| state.to_record(self.source_set.identity(position)))
            .collect()
    }

    fn position_of(&self, name: &Name, identity: SourceIdentity) -> Option<usize> {
        let position = self.source_set.position(name.as_str())?;
        (self.source_set.identity(position) == identity).then_some(position)
    }
}
