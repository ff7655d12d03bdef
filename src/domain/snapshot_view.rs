//! What a snapshot shows of its sources at a given time.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::code::Code;
use super::freshness::Freshness;
use super::name::Name;
use super::snapshot::Snapshot;
use super::source_state::SourceState;
use super::source_view::{CurrentReading, ShownFailure, SourceView};
use super::timestamp::Time;

impl Snapshot {
    /// Returns whether a response need not wait for the source at `position`: an attempt finished,
    /// a reading was restored, or a reload added the source.
    pub fn is_ready_to_answer(&self, position: usize) -> bool {
        let state = &self.source_states()[position];
        if !state.blocks_readiness || state.reading.is_some() || state.failure.is_some() {
            return true;
        }
        // A derived source is not computed while an input has no reading; waiting for its first
        // computation is pointless once such an input has finished its first attempt.
        state.source.inputs().iter().any(|input| {
            self.source_set()
                .position(input.as_str())
                .is_none_or(|input| {
                    self.is_ready_to_answer(input) && self.source_states()[input].reading.is_none()
                })
        })
    }

    /// Returns the view of the source at `position` at the time `now`.
    pub fn source_view(&self, position: usize, now: Time) -> SourceView<'_> {
        let state = &self.source_states()[position];
        let freshness = self
            .freshness_inputs(state)
            .map(|(input, at)| input.freshness_policy().freshness_at(at, now))
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
                .map(|(input, at)| input.freshness_policy().remaining_ms(at, now))
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
        let state = &self.source_states()[position];
        state.reading.as_ref()?;
        let own = self
            .freshness_inputs(state)
            .filter_map(|(input, at)| input.freshness_policy().unchanged_until(at, now));
        // An input's expiry changes the shown failure even while the derived reading stays usable.
        let inputs = state.source.inputs().iter().filter_map(|name| {
            self.unchanged_until(self.source_set().position(name.as_str())?, now)
        });
        own.chain(inputs).min()
    }

    /// Returns the planned time of the next attempt at the source at `position`; for a derived
    /// source, the earliest of its inputs.
    pub fn next_attempt(&self, position: usize) -> Option<Time> {
        let state = &self.source_states()[position];
        state.history.next_attempt.or_else(|| {
            let inputs = state.source.inputs().iter();
            inputs
                .filter_map(|name| self.next_attempt(self.source_set().position(name.as_str())?))
                .min()
        })
    }

    /// Returns the number of failed attempts since the last success of the source at `position`;
    /// for a derived source, the maximum over the source and its inputs, since it fails with them.
    pub fn failure_count(&self, position: usize) -> u32 {
        let state = &self.source_states()[position];
        state
            .source
            .inputs()
            .iter()
            .filter_map(|name| self.source_set().position(name.as_str()))
            .map(|input| self.failure_count(input))
            .fold(state.history.failure_count, u32::max)
    }

    /// Returns the versions (`fetched_at`) of every fetched source that the source at `position`
    /// depends on, transitively; for a fetched source, its own. `None` if any of them has no
    /// reading.
    pub fn current_input_versions(&self, position: usize) -> Option<Vec<(Name, Time)>> {
        let state = &self.source_states()[position];
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
        let state = &self.source_states()[position];
        !state.source.is_derived()
            || self
                .current_input_versions(position)
                .is_none_or(|versions| *versions == *state.latest_input_versions)
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
            let position = self.source_set().position(name.as_str());
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
