//! What is kept of one source across restarts.

use std::sync::Arc;
use std::time::Duration;

use super::failure::FailureRecord;
use super::identity::SourceIdentity;
use super::name::Name;
use super::outcome::ProviderAttempt;
use super::reading::Reading;
use super::source_state::{AttemptHistory, FailureStreak, HealthChanges, SourceState};
use super::timestamp::Time;

/// The longest that a provider may ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// What was known of one source. The definition is not part of it: URLs, headers and secrets never leave the
/// configuration.
#[derive(Debug, Clone)]
pub struct SourceRecord {
    /// Whose it is.
    pub name: Name,
    /// To whom it may be given back.
    pub identity: SourceIdentity,
    /// The newest reading.
    pub reading: Option<Arc<Reading>>,
    /// The newest failure.
    pub failure: Option<Arc<FailureRecord>>,
    /// Which readings went into a derived source's reading.
    pub reading_input_versions: Arc<[(Name, Time)]>,
    /// Which went into its latest computation.
    pub latest_input_versions: Arc<[(Name, Time)]>,
    /// How the latest attempts went. What was planned is not kept: every start begins with attempts at all sources.
    pub history: AttemptHistory,
}

impl SourceRecord {
    /// What `entry` knows, if anything.
    pub fn from_state(entry: &SourceState, identity: SourceIdentity) -> Option<Self> {
        (entry.history.last_attempt.is_some() || entry.reading.is_some()).then(|| Self {
            name: entry.source.name.clone(),
            identity,
            reading: entry.reading.clone(),
            failure: entry.failure.clone(),
            reading_input_versions: Arc::clone(&entry.reading_input_versions),
            latest_input_versions: Arc::clone(&entry.latest_input_versions),
            history: AttemptHistory {
                next_attempt: None,
                ..entry.history.clone()
            },
        })
    }

    /// The same with every instant moved by `shift` milliseconds onto the clock of `now`; none is left in the future
    /// but the end of a `Retry-After`, which is at most 15 minutes away.
    #[must_use]
    pub fn shift_clock(mut self, shift: i64, now: Time) -> Self {
        let raw = |at: Time| Time::from_millis(at.as_millis().saturating_add(shift));
        let past = |at: Time| raw(at).min(now);
        let stamps = |stamps: &[(Name, Time)]| {
            stamps
                .iter()
                .map(|(name, at)| (name.clone(), past(*at)))
                .collect()
        };
        self.reading = self.reading.map(|r| {
            Arc::new(Reading {
                fetched_at: past(r.fetched_at),
                ..Reading::clone(&r)
            })
        });
        self.failure = self.failure.map(|l| {
            Arc::new(FailureRecord {
                started_at: past(l.started_at),
                ..FailureRecord::clone(&l)
            })
        });
        self.reading_input_versions = stamps(&self.reading_input_versions);
        self.latest_input_versions = stamps(&self.latest_input_versions);
        self.history.last_attempt = self.history.last_attempt.map(past);
        self.history.failing_since = self.history.failing_since.map(past);
        let hold = |until: Time| raw(until).min(now.plus(MAX_RETRY_AFTER));
        let moved = |t: &ProviderAttempt| ProviderAttempt {
            started_at: past(t.started_at),
            retry_at: t.retry_at.map(hold),
            ..t.clone()
        };
        self.history.provider_attempts = self.history.provider_attempts.iter().map(moved).collect();
        let moved = |streak: &FailureStreak| FailureStreak {
            since: past(streak.since),
            ..streak.clone()
        };
        self.history.failure_streaks = self.history.failure_streaks.iter().map(moved).collect();
        self
    }
}

impl SourceState {
    /// This entry with what was kept of its source, newest wins.
    #[must_use]
    pub fn restore(&self, saved: &SourceRecord) -> Self {
        let mut entry = self.clone();
        if entry.reading < saved.reading {
            entry.reading.clone_from(&saved.reading);
            entry.reading_input_versions = Arc::clone(&saved.reading_input_versions);
        }
        if entry.failure < saved.failure {
            entry.failure.clone_from(&saved.failure);
        }
        if entry.history.last_attempt < saved.history.last_attempt {
            entry.history = AttemptHistory {
                next_attempt: entry.history.next_attempt,
                ..saved.history.clone()
            };
            entry.latest_input_versions = Arc::clone(&saved.latest_input_versions);
        }
        entry.clamp_to_retry_after()
    }

    /// This entry with what another replica knows of its source, newest wins, and what that changed. The other one may
    /// have been told of other providers; of those nothing is kept.
    #[must_use]
    pub fn merge_remote(&self, saved: &SourceRecord) -> (Self, HealthChanges) {
        let known = |one: &&ProviderAttempt| {
            self.source
                .providers()
                .iter()
                .any(|p| p.name == one.provider)
        };
        let tries = saved
            .history
            .provider_attempts
            .iter()
            .filter(known)
            .cloned()
            .collect();
        let known = |one: &&FailureStreak| {
            self.source
                .providers()
                .iter()
                .any(|p| p.name == one.provider)
        };
        let streaks = saved
            .history
            .failure_streaks
            .iter()
            .filter(known)
            .cloned()
            .collect();
        let heard = SourceRecord {
            history: AttemptHistory {
                provider_attempts: tries,
                failure_streaks: streaks,
                ..saved.history.clone()
            },
            ..saved.clone()
        };
        let entry = self.restore(&heard);
        let turns = self.health_changes(&entry, heard.history.last_attempt.unwrap_or_default());
        (entry, turns)
    }

    /// Whether another replica knows something of this source that is new here.
    pub fn has_news(&self, saved: &SourceRecord) -> bool {
        self.reading < saved.reading
            || self.failure < saved.failure
            || self.history.last_attempt < saved.history.last_attempt
    }
}
