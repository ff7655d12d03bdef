//! What is known of one source: the newest reading, the newest failure, and diagnostics beside them.

use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, FailureRecord};
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::{Outcome, ProviderAttempt, ProviderAttemptResult};
use super::reading::{JsonData, Reading};
use super::source::Source;
use super::timestamp::Time;

/// The state of one source within a snapshot. Reading and failure are two maxima over everything ever merged, so the
/// order, repetition and lateness of outcomes do not matter.
#[derive(Debug, Clone)]
pub struct SourceState {
    /// The definition.
    pub source: Arc<Source>,
    /// The reading with the latest `fetched_at`.
    pub reading: Option<Arc<Reading>>,
    /// The failure with the latest `at`. It counts only while it is newer than the reading. Of a derived source: the
    /// latest computation's, none if that succeeded.
    pub failure: Option<Arc<FailureRecord>>,
    /// Of a derived source's reading: which readings of which fetched sources went into it.
    pub reading_input_versions: Arc<[(Name, Time)]>,
    /// Of a derived source: which readings went into the latest computation, failed or not.
    pub latest_input_versions: Arc<[(Name, Time)]>,
    /// Diagnostics, outside of the merge laws and of the version.
    pub history: AttemptHistory,
    /// Whether a first answer waits for this source's first attempt. False for one that a reload added.
    pub blocks_readiness: bool,
}

/// How the latest attempts went.
#[derive(Debug, Clone, Default)]
pub struct AttemptHistory {
    /// When the newest finished attempt began.
    pub last_attempt: Option<Time>,
    /// How long it took.
    pub last_duration: Option<Duration>,
    /// When the first failed attempt since the last success began.
    pub failing_since: Option<Time>,
    /// Failed attempts since the last success.
    pub failure_count: u32,
    /// When the next attempt is planned.
    pub next_attempt: Option<Time>,
    /// Per provider, what it did last.
    pub provider_attempts: Arc<[ProviderAttempt]>,
    /// The providers whose latest requests failed.
    pub failure_streaks: Arc<[FailureStreak]>,
}

/// A provider's failures since it last gave a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureStreak {
    /// Whose.
    pub provider: Name,
    /// When the first of them began.
    pub since: Time,
    /// How many there are.
    pub failure_count: u32,
}

/// One computation of a derived source.
#[derive(Debug, Clone)]
pub struct DerivedComputation {
    /// Of which definition: a reload may have changed the filters meanwhile.
    pub identity: SourceIdentity,
    /// Which readings went into it, by fetched source.
    pub input_versions: Vec<(Name, Time)>,
    /// When it was computed.
    pub computed_at: Time,
    /// How long it took.
    pub duration: Duration,
    /// The data, or why there is none.
    pub result: Result<JsonData, Failure>,
}

/// What an outcome changed about the health of a source or of one of its providers; what is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthChange {
    /// As healthy or as ill as before.
    #[default]
    Unchanged,
    /// The first failure after a success, or the first attempt of all.
    Failed,
    /// The first success after failures; how long they lasted.
    Recovered(Duration),
}

/// What an outcome changed about a source's health.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthChanges {
    /// The source's own.
    pub source: HealthChange,
    /// Those of its providers, if it has several: one that fails is hidden by the next.
    pub providers: Vec<(Name, HealthChange)>,
}

impl SourceState {
    /// An entry about which nothing is known yet.
    pub fn new(source: Arc<Source>, awaited: bool) -> Self {
        Self {
            source,
            reading: None,
            failure: None,
            reading_input_versions: Arc::default(),
            latest_input_versions: Arc::default(),
            history: AttemptHistory::default(),
            blocks_readiness: awaited,
        }
    }

    /// The latest failure, while it is newer than the reading.
    pub fn current_failure(&self) -> Option<&FailureRecord> {
        let lapse = self.failure.as_deref()?;
        let derived = self.source.schedule().is_none();
        let newer = self
            .reading
            .as_ref()
            .is_none_or(|reading| derived || lapse.started_at > reading.fetched_at);
        newer.then_some(lapse)
    }

    /// The providers that fail, in order of preference: since when, and why at last. While one answers, those that are
    /// preferred to it: nobody asks the others, and what they did when they were asked says nothing of now.
    pub fn failing_providers(&self) -> impl Iterator<Item = (&FailureStreak, &Failure)> {
        let answering = self
            .reading
            .as_deref()
            .filter(|_| self.current_failure().is_none())
            .map(|reading| &reading.provider);
        let preferred = self
            .source
            .providers()
            .iter()
            .take_while(move |one| Some(&one.name) != answering);
        preferred.filter_map(|provider| {
            Some((
                self.history.failure_streak(&provider.name)?,
                self.history.latest_attempt(&provider.name)?.failure()?,
            ))
        })
    }

    /// This entry with an outcome merged in, newest wins, and what that changed.
    pub fn merge_outcome(&self, outcome: &Outcome) -> (Self, HealthChanges) {
        let mut merged = self.clone();
        match &outcome.result {
            Ok(reading) => {
                if self.reading.as_deref().is_none_or(|known| known < reading) {
                    merged.reading = Some(Arc::new(reading.clone()));
                }
            }
            Err(failure) => {
                let lapse = FailureRecord {
                    started_at: outcome.started_at,
                    failure: failure.clone(),
                };
                if self.failure.as_deref().is_none_or(|known| *known < lapse) {
                    merged.failure = Some(Arc::new(lapse));
                }
            }
        }
        merged.history = self.history.with_outcome(outcome, merged.current_failure());
        let turns = self.health_changes(&merged, outcome.started_at);
        (merged, turns)
    }

    /// This entry with a newer computation of a derived source.
    #[must_use]
    pub fn with_computation(&self, name: &Name, derivation: &DerivedComputation) -> Self {
        let mut derived = Self {
            latest_input_versions: derivation.input_versions.clone().into(),
            ..self.clone()
        };
        let oldest = derivation
            .input_versions
            .iter()
            .map(|(_, at)| *at)
            .min()
            .unwrap_or(derivation.computed_at);
        match &derivation.result {
            Ok(data) => {
                let reading = Reading {
                    fetched_at: oldest,
                    provider: name.clone(),
                    data: data.clone(),
                };
                derived.reading = Some(Arc::new(reading));
                derived.reading_input_versions = Arc::clone(&derived.latest_input_versions);
                derived.failure = None;
            }
            Err(failure) => {
                let lapse = FailureRecord {
                    started_at: derivation.computed_at,
                    failure: failure.clone(),
                };
                derived.failure = Some(Arc::new(lapse));
            }
        }
        let failing = derivation.result.is_err();
        derived.history.last_attempt = Some(derivation.computed_at);
        derived.history.last_duration = Some(derivation.duration);
        derived.history.failure_count = if failing {
            self.history.failure_count.saturating_add(1)
        } else {
            0
        };
        derived.history.failing_since =
            failing.then(|| self.history.failing_since.unwrap_or(derivation.computed_at));
        derived
    }

    /// What became of its health by a merge of what began at `at`.
    pub(crate) fn health_changes(&self, merged: &Self, at: Time) -> HealthChanges {
        let source = match (self.current_failure(), merged.current_failure()) {
            (None, Some(_)) => HealthChange::Failed,
            (Some(lapse), None) => HealthChange::Recovered(
                at.since(self.history.failing_since.unwrap_or(lapse.started_at)),
            ),
            _ => HealthChange::Unchanged,
        };
        let several = self.source.providers().len() > 1;
        let providers = if several {
            self.provider_health_changes(merged)
        } else {
            Vec::new()
        };
        HealthChanges { source, providers }
    }

    /// Which providers are [broken](Self::broken) in `merged` and were not before, and which have given a reading again.
    fn provider_health_changes(&self, merged: &Self) -> Vec<(Name, HealthChange)> {
        let is_broken = |entry: &Self, name: &Name| {
            entry
                .failing_providers()
                .any(|(streak, _)| streak.provider == *name)
        };
        let turn = |name: &Name| match (
            self.history.failure_streak(name),
            merged.history.latest_attempt(name),
        ) {
            _ if is_broken(merged, name) => {
                (!is_broken(self, name)).then_some(HealthChange::Failed)
            }
            (
                Some(streak),
                Some(ProviderAttempt {
                    started_at: at,
                    result: ProviderAttemptResult::Succeeded,
                    ..
                }),
            ) => Some(HealthChange::Recovered(at.since(streak.since))),
            _ => None,
        };
        self.source
            .providers()
            .iter()
            .filter_map(|one| Some((one.name.clone(), turn(&one.name)?)))
            .collect()
    }
}

impl AttemptHistory {
    fn with_outcome(&self, outcome: &Outcome, failing: Option<&FailureRecord>) -> Self {
        let newest = self
            .last_attempt
            .is_none_or(|last| outcome.started_at >= last);
        let mut next = self.clone();
        if newest {
            next.last_attempt = Some(outcome.started_at);
            next.last_duration = Some(outcome.duration);
        }
        next.failure_streaks = self.updated_streaks(&outcome.provider_attempts);
        next.provider_attempts =
            merge_provider_attempts(&self.provider_attempts, &outcome.provider_attempts);
        match failing {
            None => (next.failing_since, next.failure_count) = (None, 0),
            Some(lapse) => {
                next.failing_since = Some(self.failing_since.unwrap_or(lapse.started_at));
                let counts = newest && outcome.result.is_err();
                next.failure_count = self.failure_count.saturating_add(u32::from(counts));
            }
        }
        next
    }
}

impl AttemptHistory {
    /// The streak of the provider of this name.
    pub fn failure_streak(&self, provider: &Name) -> Option<&FailureStreak> {
        self.failure_streaks
            .iter()
            .find(|streak| streak.provider == *provider)
    }

    /// What the provider of this name did last.
    fn latest_attempt(&self, provider: &Name) -> Option<&ProviderAttempt> {
        self.provider_attempts
            .iter()
            .find(|one| one.provider == *provider)
    }

    /// A success ends a provider's streak, a failure lengthens it; what came late or was given up changes nothing.
    fn updated_streaks(&self, more: &[ProviderAttempt]) -> Arc<[FailureStreak]> {
        let newest = |new: &&ProviderAttempt| {
            !self
                .provider_attempts
                .iter()
                .any(|old| old.provider == new.provider && old.started_at > new.started_at)
        };
        let more: Vec<&ProviderAttempt> = more
            .iter()
            .filter(newest)
            .filter(|one| one.result != ProviderAttemptResult::Superseded)
            .collect();
        if self.failure_streaks.is_empty() && more.iter().all(|one| one.failure().is_none()) {
            return Arc::clone(&self.failure_streaks);
        }
        let others = self
            .failure_streaks
            .iter()
            .filter(|old| !more.iter().any(|new| new.provider == old.provider));
        let longer = more
            .iter()
            .filter(|new| new.failure().is_some())
            .map(|new| {
                let known = self.failure_streak(&new.provider);
                let (since, before) = known.map_or((new.started_at, 0), |known| {
                    (known.since, known.failure_count)
                });
                FailureStreak {
                    provider: new.provider.clone(),
                    since,
                    failure_count: before.saturating_add(1),
                }
            });
        others.cloned().chain(longer).collect()
    }
}

/// The newer of each provider's tries, in the order of first appearance.
fn merge_provider_attempts(
    known: &Arc<[ProviderAttempt]>,
    more: &[ProviderAttempt],
) -> Arc<[ProviderAttempt]> {
    if more.is_empty() {
        return Arc::clone(known);
    }
    let mut tries = known.to_vec();
    for new in more {
        match tries.iter_mut().find(|old| old.provider == new.provider) {
            Some(old) if old.started_at <= new.started_at => *old = new.clone(),
            Some(_) => {}
            None => tries.push(new.clone()),
        }
    }
    tries.into()
}
