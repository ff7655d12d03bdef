//! State of one source.

use std::sync::Arc;
use std::time::Duration;

use super::attempt_history::{AttemptHistory, FailureStreak};
use super::failure::{Failure, FailureRecord};
use super::freshness::FreshnessPolicy;
use super::health_change::{HealthChange, HealthChanges};
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::{DerivedComputation, Outcome, ProviderAttempt, ProviderAttemptResult};
use super::reading::Reading;
use super::source::Source;
use super::source_record::SourceRecord;
use super::timestamp::Time;

/// State of one source within a snapshot.
///
/// Reading and failure are the maxima of everything merged so far, so outcomes may arrive in any
/// order, late, or more than once.
#[derive(Debug, Clone)]
pub struct SourceState {
    /// Definition of the source.
    pub source: Arc<Source>,
    /// Reading with the latest `fetched_at`.
    pub reading: Option<Arc<Reading>>,
    /// Failure with the latest `started_at`; current only while it is newer than the reading. For a
    /// derived source: failure of the latest computation, `None` if that succeeded.
    pub failure: Option<Arc<FailureRecord>>,
    /// For a derived source: versions (`fetched_at`) of the fetched sources behind its reading.
    pub reading_input_versions: Arc<[(Name, Time)]>,
    /// For a derived source: versions used by the latest computation, successful or not.
    pub latest_input_versions: Arc<[(Name, Time)]>,
    /// Diagnostics of the latest attempts.
    pub history: AttemptHistory,
    /// Whether the first response waits for the first attempt. False for a source that a reload
    /// added.
    pub blocks_readiness: bool,
}

impl SourceState {
    /// Returns the state before the first attempt.
    pub fn new(source: Arc<Source>, blocks_readiness: bool) -> Self {
        Self {
            source,
            reading: None,
            failure: None,
            reading_input_versions: Arc::default(),
            latest_input_versions: Arc::default(),
            history: AttemptHistory::default(),
            blocks_readiness,
        }
    }

    /// Returns the freshness limits of the reading: those of the source, with the reading's `extra_ttl`.
    pub fn freshness_policy(&self) -> FreshnessPolicy {
        let policy = self.source.freshness_policy;
        let extra_ttl = self.reading.as_ref().map(|reading| reading.extra_ttl);
        FreshnessPolicy {
            ttl: policy.ttl.saturating_add(extra_ttl.unwrap_or_default()),
            ..policy
        }
    }

    /// Returns the latest failure if it is newer than the reading.
    pub fn current_failure(&self) -> Option<&FailureRecord> {
        let record = self.failure.as_deref()?;
        // A derived reading is dated by its oldest input, so the dates are not comparable; a
        // successful computation removes the failure instead.
        let is_current = self.source.is_derived()
            || self
                .reading
                .as_ref()
                .is_none_or(|reading| record.started_at > reading.fetched_at);
        is_current.then_some(record)
    }

    /// Returns the streak and the latest failure of each failing provider, in order of preference.
    /// While one provider supplies readings, only those preferred to it are included: the others
    /// are not called, so their last failures are not current.
    pub fn failing_providers(&self) -> impl Iterator<Item = (&FailureStreak, &Failure)> {
        let supplier = self
            .reading
            .as_deref()
            .filter(|_| self.current_failure().is_none())
            .map(|reading| &reading.provider);
        self.source
            .providers()
            .iter()
            .take_while(move |provider| Some(&provider.name) != supplier)
            .filter_map(|provider| {
                let streak = self.history.failure_streak(&provider.name)?;
                let failure = self.history.latest_attempt(&provider.name)?.failure()?;
                Some((streak, failure))
            })
    }

    /// Returns this state with `outcome` merged, the newest reading and failure kept, and the
    /// resulting health changes.
    pub fn merge_outcome(&self, outcome: &Outcome) -> (Self, HealthChanges) {
        let mut merged = self.clone();
        // `<` keeps the known one of two equal values, so a repeated outcome changes nothing.
        match &outcome.result {
            Ok(reading) => {
                if self.reading.as_deref().is_none_or(|known| known < reading) {
                    merged.reading = Some(Arc::new(reading.clone()));
                }
            }
            Err(failure) => {
                let record = FailureRecord {
                    started_at: outcome.started_at,
                    failure: failure.clone(),
                };
                if self.failure.as_deref().is_none_or(|known| *known < record) {
                    merged.failure = Some(Arc::new(record));
                }
            }
        }
        // After the failure is merged, because the history depends on whether it is current.
        merged.history = self.history.with_outcome(outcome, merged.current_failure());
        let changes = self.health_changes(&merged, outcome.started_at);
        (merged, changes)
    }

    /// Returns the state of a derived source after `computation`.
    #[must_use]
    pub(super) fn with_computation(&self, computation: &DerivedComputation) -> Self {
        let mut derived = self.clone();
        // Also after a failure: a computation with the same inputs must not be repeated without
        // end.
        derived.latest_input_versions = computation.input_versions.clone().into();
        match &computation.result {
            Ok(data) => {
                let oldest_input = computation
                    .input_versions
                    .iter()
                    .map(|(_, fetched_at)| *fetched_at)
                    .min();
                derived.reading = Some(Arc::new(Reading {
                    fetched_at: oldest_input.unwrap_or(computation.computed_at),
                    provider: self.source.name.clone(),
                    data: data.clone(),
                    extra_ttl: Duration::ZERO,
                }));
                derived.reading_input_versions = Arc::clone(&derived.latest_input_versions);
                derived.failure = None;
            }
            Err(failure) => {
                derived.failure = Some(Arc::new(FailureRecord {
                    started_at: computation.computed_at,
                    failure: failure.clone(),
                }));
            }
        }
        let history = &mut derived.history;
        history.last_attempt = Some(computation.computed_at);
        history.last_duration = Some(computation.duration);
        if computation.result.is_ok() {
            (history.failing_since, history.failure_count) = (None, 0);
        } else {
            history.failing_since.get_or_insert(computation.computed_at);
            history.failure_count = history.failure_count.saturating_add(1);
        }
        derived
    }

    /// Returns the part of this state that survives a restart; `None` if there is nothing to keep.
    pub fn to_record(&self, identity: SourceIdentity) -> Option<SourceRecord> {
        if self.history.last_attempt.is_none() && self.reading.is_none() {
            return None;
        }
        Some(SourceRecord {
            name: self.source.name.clone(),
            identity,
            reading: self.reading.clone(),
            failure: self.failure.clone(),
            reading_input_versions: Arc::clone(&self.reading_input_versions),
            latest_input_versions: Arc::clone(&self.latest_input_versions),
            history: AttemptHistory {
                next_attempt: None,
                ..self.history.clone()
            },
        })
    }

    /// Returns this state with a saved record merged, the newest reading, failure and history kept.
    #[must_use]
    pub fn restore(&self, record: &SourceRecord) -> Self {
        let mut restored = self.clone();
        // `None` is less than any value, so the record supplies the values that this state lacks.
        if restored.reading < record.reading {
            restored.reading.clone_from(&record.reading);
            restored.reading_input_versions = Arc::clone(&record.reading_input_versions);
        }
        if restored.failure < record.failure {
            restored.failure.clone_from(&record.failure);
        }
        if restored.history.last_attempt < record.history.last_attempt {
            restored.history = AttemptHistory {
                next_attempt: restored.history.next_attempt,
                ..record.history.clone()
            };
            restored.history.forget_holds(|_| false);
            restored.latest_input_versions = Arc::clone(&record.latest_input_versions);
        }
        restored.clamp_to_retry_after()
    }

    /// Returns this state with the record of another replica merged, and the resulting health
    /// changes. The other replica's configuration may have other providers; their history is
    /// dropped.
    pub fn merge_remote(&self, record: &SourceRecord) -> (Self, HealthChanges) {
        let mut record = record.clone();
        record.history.retain_providers_of(&self.source);
        let merged = self.restore(&record);
        let attempt = record.history.last_attempt.unwrap_or_default();
        let changes = self.health_changes(&merged, attempt);
        (merged, changes)
    }

    /// Returns whether the record of another replica has a reading, a failure or an attempt newer
    /// than those of this state.
    pub fn has_news(&self, record: &SourceRecord) -> bool {
        self.reading < record.reading
            || self.failure < record.failure
            || self.history.last_attempt < record.history.last_attempt
    }

    /// Returns this state under a new definition with the same identity. If the providers differ,
    /// the next attempt is due now; if only the schedule differs, it is planned anew from the
    /// latest attempt.
    #[must_use]
    pub(super) fn with_source(&self, source: &Arc<Source>) -> Self {
        let mut state = Self {
            source: Arc::clone(source),
            ..self.clone()
        };
        if self.source.providers() != source.providers() {
            state.history.next_attempt = None;
            state.history.retain_providers_of(source);
            // A server at another address did not ask for the pause.
            let has_moved = |name: &Name| source.has_moved_provider(&self.source, name);
            state.history.forget_holds(has_moved);
        } else if self.source.schedule() != source.schedule() {
            let (last, failures) = (self.history.last_attempt, self.history.failure_count);
            // 0.5 is no jitter: the latest attempt, from which the time counts, had its own.
            state.history.next_attempt = last
                .zip(source.schedule())
                .map(|(last, schedule)| schedule.next_attempt(last, failures, 0.5, None));
        }
        state.clamp_to_retry_after()
    }

    /// Returns this state with its next attempt moved to the first end of a `Retry-After`, if every
    /// provider has one and the attempt is planned before it.
    #[must_use]
    pub(super) fn clamp_to_retry_after(mut self) -> Self {
        // `None` if one provider is not held back: the attempt can use it.
        let first_end = self
            .source
            .providers()
            .iter()
            .map(|provider| self.history.latest_attempt(&provider.name)?.held_until)
            .collect::<Option<Vec<Time>>>()
            .and_then(|ends| ends.into_iter().min());
        // `None`, an attempt that is due now, is less than any time.
        self.history.next_attempt = self.history.next_attempt.max(first_end);
        self
    }

    /// Returns the health changes from this state to `merged`, which includes an attempt that began
    /// at `attempt`.
    fn health_changes(&self, merged: &Self, attempt: Time) -> HealthChanges {
        let source = match (self.current_failure(), merged.current_failure()) {
            (None, Some(_)) => HealthChange::Failed,
            (Some(record), None) => {
                let since = self.history.failing_since.unwrap_or(record.started_at);
                HealthChange::Recovered(attempt.since(since))
            }
            _ => HealthChange::Unchanged,
        };
        let providers = if self.source.providers().len() > 1 {
            self.provider_health_changes(merged)
        } else {
            Vec::new()
        };
        HealthChanges { source, providers }
    }

    /// Returns the providers that are [failing](Self::failing_providers) in `merged` and were not
    /// before, and those whose streak a success has ended.
    fn provider_health_changes(&self, merged: &Self) -> Vec<(Name, HealthChange)> {
        let is_failing = |state: &Self, name: &Name| {
            state
                .failing_providers()
                .any(|(streak, _)| streak.provider == *name)
        };
        let change = |name: &Name| {
            if is_failing(merged, name) {
                return (!is_failing(self, name)).then_some(HealthChange::Failed);
            }
            let streak = self.history.failure_streak(name)?;
            match merged.history.latest_attempt(name)? {
                ProviderAttempt {
                    started_at,
                    result: ProviderAttemptResult::Succeeded,
                    ..
                } => Some(HealthChange::Recovered(started_at.since(streak.since))),
                _ => None,
            }
        };
        self.source
            .providers()
            .iter()
            .filter_map(|provider| Some((provider.name.clone(), change(&provider.name)?)))
            .collect()
    }
}
