//! Immutable state of all sources.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::code::Code;
use super::freshness::Freshness;
use super::health_change::HealthChanges;
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::{DerivedComputation, Outcome};
use super::source_record::SourceRecord;
use super::source_set::SourceSet;
use super::source_state::SourceState;
use super::source_view::{CurrentReading, ShownFailure, SourceView};
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
}

/// Result of a merge into a snapshot.
#[derive(Debug)]
pub struct MergeResult {
    /// The new snapshot.
    pub snapshot: Snapshot,
    /// Changes of the health of the source.
    pub health_changes: HealthChanges,
    /// Whether the identity matched; if not, the snapshot is unchanged.
    pub was_merged: bool,
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
                was_merged: false,
            };
        };
        let (state, health_changes) = merge(&self.source_states[position]);
        snapshot.source_states[position] = Arc::new(state);
        MergeResult {
            snapshot,
            health_changes,
            was_merged: true,
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
        }
    }

    /// Returns this snapshot with the next attempt at the source `name` planned for `next`.
    #[must_use]
    pub fn with_next_attempt(mut self, name: &Name, next: Option<Time>) -> Self {
        if let Some(position) = self.source_set.position(name.as_str()) {
            let state = Arc::make_mut(&mut self.source_states[position]);
            state.history.next_attempt = next;
        }
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

    /// Returns whether a response need not wait for the source at `position`: an attempt finished,
    /// a reading was restored, or a reload added the source.
    pub fn is_ready_to_answer(&self, position: usize) -> bool {
        let state = &self.source_states[position];
        if !state.blocks_readiness || state.reading.is_some() || state.failure.is_some() {
            return true;
        }
        // A derived source is not computed while an input has no reading; waiting for its first
        // computation is pointless once such an input has finished its first attempt.
        state.source.inputs().iter().any(|input| {
            self.source_set
                .position(input.as_str())
                .is_none_or(|input| {
                    self.is_ready_to_answer(input) && self.source_states[input].reading.is_none()
                })
        })
    }

    /// Returns the view of the source at `position` at the time `now`.
    pub fn source_view(&self, position: usize, now: Time) -> SourceView<'_> {
        let state = &self.source_states[position];
        let freshness = self
            .freshness_inputs(state)
            .map(|(input, at)| input.source.freshness_policy.freshness_at(at, now))
            .max()
            .unwrap_or(Freshness::Missing);
        // A missing reading is hidden, not removed: a reload can set longer limits.
        let reading = state
            .reading
            .as_ref()
            .filter(|_| freshness != Freshness::Missing)
            .map(|reading| CurrentReading {
                data: &reading.data,
                provider: &reading.provider,
                fetched_at: reading.fetched_at,
            });
        let remaining_ms = reading.and_then(|_| {
            self.freshness_inputs(state)
                .map(|(input, at)| input.source.freshness_policy.remaining_ms(at, now))
                .min()
        });
        SourceView {
            freshness,
            reading,
            failure: self.shown_failure(state, freshness, now),
            last_duration: state.history.last_duration,
            remaining_ms,
        }
    }

    /// Returns the last instant with the same freshness and failure as `now` for the source at
    /// `position` and its inputs, if nothing is merged. `None` if age changes nothing any more.
    pub fn unchanged_until(&self, position: usize, now: Time) -> Option<Time> {
        let state = &self.source_states[position];
        state.reading.as_ref()?;
        let own = self
            .freshness_inputs(state)
            .filter_map(|(input, at)| input.source.freshness_policy.unchanged_until(at, now));
        // An input's expiry changes the shown failure even while the derived reading stays usable.
        let inputs =
            state.source.inputs().iter().filter_map(|name| {
                self.unchanged_until(self.source_set.position(name.as_str())?, now)
            });
        own.chain(inputs).min()
    }

    /// Returns the planned time of the next attempt at the source at `position`; for a derived
    /// source, the earliest of its inputs.
    pub fn next_attempt(&self, position: usize) -> Option<Time> {
        let state = &self.source_states[position];
        state.history.next_attempt.or_else(|| {
            let inputs = state.source.inputs().iter();
            inputs
                .filter_map(|name| self.next_attempt(self.source_set.position(name.as_str())?))
                .min()
        })
    }

    /// Returns the number of failed attempts since the last success of the source at `position`;
    /// for a derived source, the maximum over the source and its inputs, since it fails with them.
    pub fn failure_count(&self, position: usize) -> u32 {
        let state = &self.source_states[position];
        state
            .source
            .inputs()
            .iter()
            .filter_map(|name| self.source_set.position(name.as_str()))
            .map(|input| self.failure_count(input))
            .fold(state.history.failure_count, u32::max)
    }

    /// Returns the versions (`fetched_at`) of every fetched source that the source at `position`
    /// depends on, transitively; for a fetched source, its own. `None` if any of them has no
    /// reading.
    pub fn current_input_versions(&self, position: usize) -> Option<Vec<(Name, Time)>> {
        let state = &self.source_states[position];
        if !state.source.is_derived() {
            let fetched_at = state.reading.as_ref()?.fetched_at;
            return Some(vec![(state.source.name.clone(), fetched_at)]);
        }
        let mut versions = BTreeMap::new();
        for name in state.source.inputs() {
            let input = self.source_state(name.as_str())?;
            let reading = input.reading.as_ref()?;
            let own = [(name.clone(), reading.fetched_at)];
            let input_versions: &[(Name, Time)] = if input.source.is_derived() {
                &input.reading_input_versions
            } else {
                &own
            };
            // Two inputs can depend on different versions of one source; the older one counts.
            for (name, fetched_at) in input_versions {
                let oldest = versions.entry(name.clone()).or_insert(*fetched_at);
                *oldest = (*oldest).min(*fetched_at);
            }
        }
        Some(versions.into_iter().collect())
    }

    /// Returns whether the latest computation of the source at `position` used the current versions
    /// of its inputs. True for a fetched source, and while an input has no reading.
    pub fn is_derived_current(&self, position: usize) -> bool {
        let state = &self.source_states[position];
        !state.source.is_derived()
            || self
                .current_input_versions(position)
                .is_none_or(|versions| *versions == *state.latest_input_versions)
    }

    fn position_of(&self, name: &Name, identity: SourceIdentity) -> Option<usize> {
        let position = self.source_set.position(name.as_str())?;
        (self.source_set.identity(position) == identity).then_some(position)
    }

    /// Returns the fetched sources behind the reading of `state`, each with its `fetched_at`: the
    /// source itself, or the inputs of a derived source.
    fn freshness_inputs<'s>(
        &'s self,
        state: &'s SourceState,
    ) -> impl Iterator<Item = (&'s SourceState, Time)> {
        let own = state
            .reading
            .as_ref()
            .filter(|_| !state.source.is_derived())
            .map(|reading| (state, reading.fetched_at));
        let inputs = state
            .reading_input_versions
            .iter()
            .filter_map(|(name, at)| Some((&**self.source_state(name.as_str())?, *at)));
        own.into_iter().chain(inputs)
    }

    /// Returns the failure to show: that of the latest attempt, else that of an input, else the
    /// cause of a missing reading.
    fn shown_failure<'s>(
        &'s self,
        state: &'s SourceState,
        freshness: Freshness,
        now: Time,
    ) -> Option<ShownFailure<'s>> {
        if let Some(record) = state.current_failure() {
            return Some(ShownFailure {
                code: record.failure.code,
                message: Cow::Borrowed(&record.failure.message),
                // A restored record can have a failure without the start of the streak.
                failing_since: Some(state.history.failing_since.unwrap_or(record.started_at)),
            });
        }
        for name in state.source.inputs() {
            let position = self.source_set.position(name.as_str());
            if let Some(failure) = position.and_then(|input| self.source_view(input, now).failure) {
                let message = Cow::Owned(format!("input `{name}`: {}", failure.message));
                return Some(ShownFailure { message, ..failure });
            }
        }
        let (code, message) = match (freshness, &state.reading) {
            (Freshness::Missing, None) => (Code::Pending, "no attempt has ended yet"),
            (Freshness::Missing, Some(_)) => (
                Code::Expired,
                "the last reading is older than ttl + max_stale",
            ),
            _ => return None,
        };
        Some(ShownFailure {
            code,
            message: Cow::Borrowed(message),
            failing_since: None,
        })
    }
}
