//! Diagnostics of the latest attempts at a source.

use std::sync::Arc;
use std::time::Duration;

use super::failure::FailureRecord;
use super::name::Name;
use super::outcome::{Outcome, ProviderAttempt, ProviderAttemptResult};
use super::source::Source;
use super::timestamp::Time;

/// Diagnostics of the latest attempts at a source. Unlike reading and failure, they depend on the
/// order in which outcomes arrive, and the version of a summary does not include them.
#[derive(Debug, Clone, Default)]
pub struct AttemptHistory {
    /// Start of the newest finished attempt.
    pub last_attempt: Option<Time>,
    /// Duration of that attempt.
    pub last_duration: Option<Duration>,
    /// Start of the first failed attempt since the last success. `None` while attempts succeed.
    pub failing_since: Option<Time>,
    /// Number of failed attempts since the last success.
    pub failure_count: u32,
    /// Planned time of the next attempt. `None` if no attempt is planned: the next one is due now.
    pub next_attempt: Option<Time>,
    /// Latest attempt at each provider, in order of first appearance.
    pub provider_attempts: Arc<[ProviderAttempt]>,
    /// Failure streak of each provider whose latest request failed.
    pub failure_streaks: Arc<[FailureStreak]>,
}

/// Consecutive failures of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureStreak {
    /// Name of the provider.
    pub provider: Name,
    /// Start of the first failed request.
    pub since: Time,
    /// Number of failed requests.
    pub failure_count: u32,
}

impl AttemptHistory {
    /// Returns the failure streak of `provider`; `None` if its latest request did not fail.
    pub fn failure_streak(&self, provider: &Name) -> Option<&FailureStreak> {
        self.failure_streaks
            .iter()
            .find(|streak| streak.provider == *provider)
    }

    /// Returns whether the latest attempt at every provider failed for a cause that does not pass by
    /// itself.
    pub fn has_only_lasting_failures(&self) -> bool {
        let is_lasting =
            |attempt: &ProviderAttempt| attempt.failure().is_some_and(|failure| failure.is_lasting);
        !self.provider_attempts.is_empty() && self.provider_attempts.iter().all(is_lasting)
    }

    /// Returns the latest attempt at `provider`.
    pub(super) fn latest_attempt(&self, provider: &Name) -> Option<&ProviderAttempt> {
        self.provider_attempts
            .iter()
            .find(|attempt| attempt.provider == *provider)
    }

    /// Returns this history with `outcome` added. `current_failure` is the source's failure after
    /// the merge of that outcome, `None` if the source is healthy.
    pub(super) fn with_outcome(
        &self,
        outcome: &Outcome,
        current_failure: Option<&FailureRecord>,
    ) -> Self {
        let is_newest = self
            .last_attempt
            .is_none_or(|last| outcome.started_at >= last);
        let mut next = self.clone();
        // A late outcome can change reading and failure, but not the data of the newest attempt.
        if is_newest {
            next.last_attempt = Some(outcome.started_at);
            next.last_duration = Some(outcome.duration);
        }
        next.failure_streaks = self.updated_streaks(&outcome.provider_attempts);
        next.provider_attempts =
            merge_provider_attempts(&self.provider_attempts, &outcome.provider_attempts);
        match current_failure {
            None => (next.failing_since, next.failure_count) = (None, 0),
            Some(record) => {
                next.failing_since = Some(self.failing_since.unwrap_or(record.started_at));
                let counts = is_newest && outcome.result.is_err();
                next.failure_count = self.failure_count.saturating_add(u32::from(counts));
            }
        }
        next
    }

    /// Removes the attempts and streaks of providers that `source` does not have.
    pub(super) fn retain_providers_of(&mut self, source: &Source) {
        self.provider_attempts = self
            .provider_attempts
            .iter()
            .filter(|attempt| source.has_provider(&attempt.provider))
            .cloned()
            .collect();
        self.failure_streaks = self
            .failure_streaks
            .iter()
            .filter(|streak| source.has_provider(&streak.provider))
            .cloned()
            .collect();
    }

    /// Removes the holds of providers that `is_outdated` selects, and the lifetimes of all responses: they
    /// are those of other requests, or of requests that cannot be compared with the configured ones.
    pub(super) fn forget_holds(&mut self, is_outdated: impl Fn(&Name) -> bool) {
        for attempt in Arc::make_mut(&mut self.provider_attempts) {
            let is_lifetime = attempt.result == ProviderAttemptResult::Succeeded;
            if is_lifetime || is_outdated(&attempt.provider) {
                attempt.held_until = None;
            }
        }
    }

    /// Returns the streaks after `attempts`: a success ends its provider's streak, a failure
    /// extends it. An attempt that is superseded or older than the known one changes nothing.
    fn updated_streaks(&self, attempts: &[ProviderAttempt]) -> Arc<[FailureStreak]> {
        let relevant: Vec<&ProviderAttempt> = attempts
            .iter()
            .filter(|attempt| {
                attempt.result != ProviderAttemptResult::Superseded
                    && self
                        .latest_attempt(&attempt.provider)
                        .is_none_or(|known| known.started_at <= attempt.started_at)
            })
            .collect();
        // The usual case: no allocation while every provider succeeds.
        if self.failure_streaks.is_empty() && relevant.iter().all(|one| one.failure().is_none()) {
            return Arc::clone(&self.failure_streaks);
        }
        let unchanged = self
            .failure_streaks
            .iter()
            .filter(|streak| !relevant.iter().any(|one| one.provider == streak.provider))
            .cloned();
        let extended = relevant
            .iter()
            .filter(|attempt| attempt.failure().is_some())
            .map(|attempt| {
                let (since, count) = self
                    .failure_streak(&attempt.provider)
                    .map_or((attempt.started_at, 0), |streak| {
                        (streak.since, streak.failure_count)
                    });
                FailureStreak {
                    provider: attempt.provider.clone(),
                    since,
                    failure_count: count.saturating_add(1),
                }
            });
        unchanged.chain(extended).collect()
    }
}

/// Returns the newer attempt at each provider, in order of first appearance.
fn merge_provider_attempts(
    known: &Arc<[ProviderAttempt]>,
    attempts: &[ProviderAttempt],
) -> Arc<[ProviderAttempt]> {
    if attempts.is_empty() {
        return Arc::clone(known);
    }
    let mut merged = known.to_vec();
    for attempt in attempts {
        match merged
            .iter_mut()
            .find(|known| known.provider == attempt.provider)
        {
            Some(known) if known.started_at <= attempt.started_at => *known = attempt.clone(),
            Some(_) => {}
            None => merged.push(attempt.clone()),
        }
    }
    merged.into()
}
