//! The part of a source's state that survives a restart and is shared between replicas.

use std::sync::Arc;

use super::attempt_history::AttemptHistory;
use super::failure::FailureRecord;
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::ProviderAttemptResult;
use super::reading::Reading;
use super::schedule::{MAX_CACHE_LIFETIME, MAX_RETRY_AFTER};
use super::timestamp::Time;

/// State of one source without its definition, for the state file and for other replicas. It
/// contains no URL, header or secret.
#[derive(Debug, Clone)]
pub struct SourceRecord {
    /// Name of the source.
    pub name: Name,
    /// Identity of the definition that the state belongs to.
    pub identity: SourceIdentity,
    /// Newest reading.
    pub reading: Option<Arc<Reading>>,
    /// Newest failure.
    pub failure: Option<Arc<FailureRecord>>,
    /// For a derived source: versions (`fetched_at`) of the inputs of its reading.
    pub reading_input_versions: Arc<[(Name, Time)]>,
    /// For a derived source: versions of the inputs of its latest computation.
    pub latest_input_versions: Arc<[(Name, Time)]>,
    /// Diagnostics of the latest attempts, without a planned attempt: every start attempts all
    /// sources.
    pub history: AttemptHistory,
}

impl SourceRecord {
    /// Returns every time in the record except the ends of holds: none of them is in the
    /// future when the record is made.
    pub fn past_times(&self) -> impl Iterator<Item = Time> {
        let versions = [&self.reading_input_versions, &self.latest_input_versions];
        let history = &self.history;
        let single = [
            self.reading.as_ref().map(|reading| reading.fetched_at),
            self.failure.as_ref().map(|record| record.started_at),
            history.last_attempt,
            history.failing_since,
        ];
        let attempts = history.provider_attempts.iter();
        let streaks = history.failure_streaks.iter();
        single
            .into_iter()
            .flatten()
            .chain(
                versions
                    .into_iter()
                    .flat_map(|v| v.iter().map(|(_, at)| *at)),
            )
            .chain(attempts.map(|attempt| attempt.started_at))
            .chain(streaks.map(|streak| streak.since))
    }

    /// Returns the record with every time moved by `shift_ms` milliseconds to the clock of `now`.
    /// No time is left after `now`, except the end of a `Retry-After`, at most [`MAX_RETRY_AFTER`]
    /// later, and that of a reading's lifetime, at most [`MAX_CACHE_LIFETIME`] later.
    #[must_use]
    pub fn shift_clock(mut self, shift_ms: i64, now: Time) -> Self {
        let shift = |time: Time| Time::from_millis(time.as_millis().saturating_add(shift_ms));
        let shift_past = |time: Time| shift(time).min(now);
        if let Some(reading) = self.reading.as_mut().map(Arc::make_mut) {
            reading.fetched_at = shift_past(reading.fetched_at);
        }
        if let Some(record) = self.failure.as_mut().map(Arc::make_mut) {
            record.started_at = shift_past(record.started_at);
        }
        for versions in [
            &mut self.reading_input_versions,
            &mut self.latest_input_versions,
        ] {
            for (_, fetched_at) in Arc::make_mut(versions) {
                *fetched_at = shift_past(*fetched_at);
            }
        }
        let history = &mut self.history;
        history.last_attempt = history.last_attempt.map(shift_past);
        history.failing_since = history.failing_since.map(shift_past);
        for attempt in Arc::make_mut(&mut history.provider_attempts) {
            attempt.started_at = shift_past(attempt.started_at);
            // The only time that may be in the future.
            let longest = match attempt.result {
                ProviderAttemptResult::Succeeded => MAX_CACHE_LIFETIME,
                _ => MAX_RETRY_AFTER,
            };
            attempt.held_until = attempt
                .held_until
                .map(|until| shift(until).min(now.plus(longest)));
        }
        for streak in Arc::make_mut(&mut history.failure_streaks) {
            streak.since = shift_past(streak.since);
        }
        self
    }
}
