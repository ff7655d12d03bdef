//! The newest reading and the newest failure of every source; immutable; swapped as a whole.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::code::Code;
use super::freshness::Freshness;
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::Outcome;
use super::reading::JsonData;
use super::saved_state::SourceRecord;
use super::source::Source;
use super::source_set::SourceSet;
use super::source_state::{DerivedComputation, HealthChanges, SourceState};
use super::timestamp::Time;

/// What is known of every source. Cheap to clone; a merge copies one pointer per source.
#[derive(Debug, Clone)]
pub struct Snapshot {
    source_set: Arc<SourceSet>,
    source_states: Vec<Arc<SourceState>>,
}

/// A snapshot with an outcome in it, and what that changed.
#[derive(Debug)]
pub struct MergeResult {
    /// The new snapshot.
    pub snapshot: Snapshot,
    /// What changed about the source's health.
    pub health_changes: HealthChanges,
    /// Whether the outcome belonged to somebody.
    pub was_merged: bool,
}

/// What an answer says of one source at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceView<'s> {
    /// Fresh, stale or missing.
    pub freshness: Freshness,
    /// The reading, unless missing.
    pub reading: Option<CurrentReading<'s>>,
    /// Why the latest attempt failed, or why the reading is missing.
    pub failure: Option<ShownFailure<'s>>,
    /// How long the latest finished attempt took.
    pub last_duration: Option<Duration>,
    /// Milliseconds of freshness left (ttl − age), negative once stale; none when missing.
    pub remaining_ms: Option<i64>,
}

/// A reading as an answer shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurrentReading<'s> {
    /// The data.
    pub data: &'s JsonData,
    /// Who told it; a derived source's own name.
    pub provider: &'s Name,
    /// When it was asked; of a derived source, when its oldest input was.
    pub fetched_at: Time,
}

/// What an answer says of a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownFailure<'s> {
    /// The stable code.
    pub code: Code,
    /// The message; of a derived source it names the input.
    pub message: Cow<'s, str>,
    /// When it began, if attempts fail.
    pub failing_since: Option<Time>,
}

impl SourceView<'_> {
    /// Whether there is a reading that is past its ttl.
    pub fn is_stale(&self) -> bool {
        self.freshness == Freshness::Stale
    }
}

impl Snapshot {
    /// A snapshot that knows nothing yet.
    pub fn new(roster: Arc<SourceSet>) -> Self {
        let entries = roster
            .sources()
            .iter()
            .map(|s| Arc::new(SourceState::new(Arc::clone(s), true)))
            .collect();
        Self {
            source_set: roster,
            source_states: entries,
        }
    }

    /// The sources that it speaks of.
    pub fn source_set(&self) -> &Arc<SourceSet> {
        &self.source_set
    }

    /// What is known of each source, in the roster's order.
    pub fn source_states(&self) -> &[Arc<SourceState>] {
        &self.source_states
    }

    /// What is known of the source of this name.
    pub fn source_state(&self, name: &str) -> Option<&Arc<SourceState>> {
        self.source_set
            .position(name)
            .map(|i| &self.source_states[i])
    }

    /// This snapshot with an outcome merged in, newest wins; unchanged if it belongs to nobody here, as does one that was
    /// extracted by a filter that a reload has replaced.
    #[must_use]
    pub fn merge_outcome(&self, outcome: &Outcome) -> MergeResult {
        let mut snapshot = self.clone();
        let Some(at) = self.index_of(&outcome.source, outcome.identity) else {
            return MergeResult {
                snapshot,
                health_changes: HealthChanges::default(),
                was_merged: false,
            };
        };
        let (entry, turns) = self.source_states[at].merge_outcome(outcome);
        snapshot.source_states[at] = Arc::new(entry);
        MergeResult {
            snapshot,
            health_changes: turns,
            was_merged: true,
        }
    }

    /// This snapshot with what was kept of its sources, newest wins; what belongs to nobody here is left out.
    #[must_use]
    pub fn restore(&self, kept: &[SourceRecord]) -> Self {
        let mut snapshot = self.clone();
        for saved in kept {
            if let Some(at) = self.index_of(&saved.name, saved.identity) {
                snapshot.source_states[at] = Arc::new(snapshot.source_states[at].restore(saved));
            }
        }
        snapshot
    }

    /// This snapshot with what another replica knows of a source, newest wins; unchanged if it belongs to nobody here.
    #[must_use]
    pub fn merge_remote(&self, saved: &SourceRecord) -> MergeResult {
        let mut snapshot = self.clone();
        let Some(at) = self.index_of(&saved.name, saved.identity) else {
            return MergeResult {
                snapshot,
                health_changes: HealthChanges::default(),
                was_merged: false,
            };
        };
        let (entry, turns) = self.source_states[at].merge_remote(saved);
        snapshot.source_states[at] = Arc::new(entry);
        MergeResult {
            snapshot,
            health_changes: turns,
            was_merged: true,
        }
    }

    /// Whether another replica knows something of a source that is new here, or that this one has no plan for yet.
    pub fn has_news(&self, saved: &SourceRecord) -> bool {
        let home = self
            .index_of(&saved.name, saved.identity)
            .map(|at| &self.source_states[at]);
        home.is_some_and(|entry| entry.history.next_attempt.is_none() || entry.has_news(saved))
    }

    /// This snapshot with every attempt that is planned planned anew; a plan never hastens what a provider forbade.
    #[must_use]
    pub fn replan_attempts(&self, plan: impl Fn(&SourceState) -> Option<Time>) -> Self {
        let mut snapshot = self.clone();
        for slot in snapshot
            .source_states
            .iter_mut()
            .filter(|entry| entry.history.next_attempt.is_some())
        {
            let mut entry = SourceState::clone(slot);
            entry.history.next_attempt = plan(&entry).or(entry.history.next_attempt);
            *slot = Arc::new(entry.clamp_to_retry_after());
        }
        snapshot
    }

    /// What is to be kept of the source of this name.
    pub fn source_record(&self, name: &Name) -> Option<SourceRecord> {
        let at = self.source_set.position(name.as_str())?;
        SourceRecord::from_state(&self.source_states[at], self.source_set.identity(at))
    }

    /// What is to be kept of its sources.
    pub fn source_records(&self) -> Vec<SourceRecord> {
        let saved = |(at, entry): (usize, &Arc<SourceState>)| {
            SourceRecord::from_state(entry, self.source_set.identity(at))
        };
        self.source_states
            .iter()
            .enumerate()
            .filter_map(saved)
            .collect()
    }

    fn index_of(&self, name: &Name, identity: SourceIdentity) -> Option<usize> {
        self.source_set
            .position(name.as_str())
            .filter(|at| self.source_set.identity(*at) == identity)
    }

    /// This snapshot with the next attempt at a source planned.
    #[must_use]
    pub fn with_next_attempt(mut self, name: &Name, next: Option<Time>) -> Self {
        if let Some(at) = self.source_set.position(name.as_str()) {
            let mut entry = SourceState::clone(&self.source_states[at]);
            entry.history.next_attempt = next;
            self.source_states[at] = Arc::new(entry);
        }
        self
    }

    /// This snapshot with a derived source computed anew; unchanged if a reload has made it another one meanwhile.
    #[must_use]
    pub fn with_computation(&self, name: &Name, derivation: &DerivedComputation) -> Self {
        let mut snapshot = self.clone();
        if let Some(at) = self.index_of(name, derivation.identity) {
            snapshot.source_states[at] =
                Arc::new(self.source_states[at].with_computation(name, derivation));
        }
        snapshot
    }

    /// What is known, under another configuration: a source keeps it as long as its identity is the same; new ones begin
    /// with nothing and nobody waits for them.
    #[must_use]
    pub fn with_source_set(&self, roster: Arc<SourceSet>) -> Self {
        let entry = |(at, source): (usize, &Arc<Source>)| match self
            .index_of(&source.name, roster.identity(at))
        {
            Some(known) => self.source_states[known].with_source(source),
            None => SourceState::new(Arc::clone(source), false),
        };
        let entries = roster
            .sources()
            .iter()
            .enumerate()
            .map(|each| Arc::new(entry(each)))
            .collect();
        Self {
            source_set: roster,
            source_states: entries,
        }
    }

    /// Whether nothing is left to wait for before this source can be answered: an attempt ended, or a reading was
    /// restored, or a reload added it.
    pub fn is_ready_to_answer(&self, position: usize) -> bool {
        let entry = &self.source_states[position];
        if !entry.blocks_readiness || entry.reading.is_some() || entry.failure.is_some() {
            return true;
        }
        let hopeless = |input: &Name| match self.source_set.position(input.as_str()) {
            Some(at) => self.is_ready_to_answer(at) && self.source_states[at].reading.is_none(),
            None => true,
        };
        entry.source.inputs().iter().any(hopeless)
    }

    /// What an answer says of the source at `position`.
    pub fn source_view(&self, position: usize, now: Time) -> SourceView<'_> {
        let entry = &self.source_states[position];
        let freshness = self.source_freshness(entry, now);
        let usable = entry
            .reading
            .as_ref()
            .filter(|_| freshness != Freshness::Missing);
        let reading = usable.map(|r| CurrentReading {
            data: &r.data,
            provider: &r.provider,
            fetched_at: r.fetched_at,
        });
        let error = self.shown_failure(entry, freshness, now);
        let left = reading.and_then(|_| {
            self.freshness_inputs(entry)
                .map(|(input, at)| input.source.freshness_policy.remaining_ms(at, now))
                .min()
        });
        SourceView {
            freshness,
            reading,
            failure: error,
            last_duration: entry.history.last_duration,
            remaining_ms: left,
        }
    }

    /// When the source at `position` will be asked next; of a derived source, the soonest of its inputs.
    pub fn next_attempt(&self, position: usize) -> Option<Time> {
        let entry = &self.source_states[position];
        let of = |name: &Name| self.next_attempt(self.source_set.position(name.as_str())?);
        entry
            .history
            .next_attempt
            .or_else(|| entry.source.inputs().iter().filter_map(of).min())
    }

    /// The readings of fetched sources on which the reading of the source at `position` rests, were it made now: its
    /// own, or those below a derived source's inputs. None while one of them has no reading.
    pub fn current_input_versions(&self, position: usize) -> Option<Vec<(Name, Time)>> {
        let entry = &self.source_states[position];
        if entry.source.schedule().is_some() {
            return Some(vec![(
                entry.source.name.clone(),
                entry.reading.as_ref()?.fetched_at,
            )]);
        }
        let mut stamps = std::collections::BTreeMap::new();
        for name in entry.source.inputs() {
            let input = &self.source_states[self.source_set.position(name.as_str())?];
            let reading = input.reading.as_ref()?;
            let own = [(name.clone(), reading.fetched_at)];
            let below: &[(Name, Time)] = if input.source.schedule().is_some() {
                &own
            } else {
                &input.reading_input_versions
            };
            for (leaf, at) in below {
                let oldest = stamps.entry(leaf.clone()).or_insert(*at);
                *oldest = (*oldest).min(*at);
            }
        }
        Some(stamps.into_iter().collect())
    }

    /// Whether a derived source was computed from what its inputs tell now, or cannot be.
    pub fn is_derived_current(&self, position: usize) -> bool {
        let entry = &self.source_states[position];
        entry.source.schedule().is_some()
            || self
                .current_input_versions(position)
                .is_none_or(|footing| *footing == *entry.latest_input_versions)
    }

    /// Failed attempts since the last success of the source at `position`; of a derived source the most of its own and its
    /// inputs': what it cannot be computed from makes it fail as often.
    pub fn failure_count(&self, position: usize) -> u32 {
        let entry = &self.source_states[position];
        let of_input = |name: &Name| {
            self.source_set
                .position(name.as_str())
                .map_or(0, |at| self.failure_count(at))
        };
        entry
            .source
            .inputs()
            .iter()
            .map(of_input)
            .fold(entry.history.failure_count, u32::max)
    }

    /// The last instant at which every state of `now` still holds; none if nothing will change by age alone.
    pub fn unchanged_until(&self, position: usize, now: Time) -> Option<Time> {
        let entry = &self.source_states[position];
        entry.reading.as_ref()?;
        let own = self
            .freshness_inputs(entry)
            .filter_map(|(input, at)| input.source.freshness_policy.unchanged_until(at, now));
        let of_input =
            |name: &Name| self.unchanged_until(self.source_set.position(name.as_str())?, now);
        own.chain(entry.source.inputs().iter().filter_map(of_input))
            .min()
    }

    fn source_freshness(&self, entry: &SourceState, now: Time) -> Freshness {
        self.freshness_inputs(entry)
            .map(|(input, at)| input.source.freshness_policy.freshness_at(at, now))
            .max()
            .unwrap_or(Freshness::Missing)
    }

    /// The fetched sources and instants on which the reading of `entry` rests.
    fn freshness_inputs<'s>(
        &'s self,
        entry: &'s SourceState,
    ) -> impl Iterator<Item = (&'s SourceState, Time)> {
        let fetched = entry.source.schedule().is_some();
        let own = entry
            .reading
            .as_ref()
            .filter(|_| fetched)
            .map(|r| (entry, r.fetched_at));
        let below = entry
            .reading_input_versions
            .iter()
            .filter_map(|(name, at)| Some((&**self.source_state(name.as_str())?, *at)));
        own.into_iter().chain(below)
    }

    fn shown_failure<'s>(
        &'s self,
        entry: &'s SourceState,
        freshness: Freshness,
        now: Time,
    ) -> Option<ShownFailure<'s>> {
        if let Some(lapse) = entry.current_failure() {
            return Some(ShownFailure {
                code: lapse.failure.code,
                message: Cow::Borrowed(&lapse.failure.message),
                failing_since: Some(entry.history.failing_since.unwrap_or(lapse.started_at)),
            });
        }
        if let Some(trouble) = self.input_failure(entry, now) {
            return Some(trouble);
        }
        let unexplained = |code, message| {
            Some(ShownFailure {
                code,
                message: Cow::Borrowed(message),
                failing_since: None,
            })
        };
        match (freshness, &entry.reading) {
            (Freshness::Missing, None) => unexplained(Code::Pending, "no attempt has ended yet"),
            (Freshness::Missing, Some(_)) => unexplained(
                Code::Expired,
                "the last reading is older than ttl + max_stale",
            ),
            _ => None,
        }
    }

    fn input_failure<'s>(&'s self, entry: &'s SourceState, now: Time) -> Option<ShownFailure<'s>> {
        entry.source.inputs().iter().find_map(|name| {
            let input = self
                .source_view(self.source_set.position(name.as_str())?, now)
                .failure?;
            let message = Cow::Owned(format!("input `{name}`: {}", input.message));
            Some(ShownFailure { message, ..input })
        })
    }
}
