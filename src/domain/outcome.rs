//! What an attempt ended with.

use std::time::Duration;

use super::failure::Failure;
use super::identity::SourceIdentity;
use super::name::Name;
use super::reading::Reading;
use super::timestamp::Time;

/// The end of one attempt at one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whose attempt it was.
    pub source: Name,
    /// To which definition of it the reading belongs: a reload may have changed the filters meanwhile.
    pub identity: SourceIdentity,
    /// When it began.
    pub started_at: Time,
    /// How long it took.
    pub duration: Duration,
    /// The reading, or why there is none.
    pub result: Result<Reading, Failure>,
    /// What happened at each provider that took part or was held back, in order of preference.
    pub provider_attempts: Vec<ProviderAttempt>,
}

/// What one provider did in one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAttempt {
    /// Who was asked.
    pub provider: Name,
    /// When its request began.
    pub started_at: Time,
    /// How long it took.
    pub duration: Duration,
    /// What became of it.
    pub result: ProviderAttemptResult,
    /// Until when it asked to be left alone (`Retry-After`).
    pub retry_at: Option<Time>,
}

/// What became of one provider's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAttemptResult {
    /// It gave the reading.
    Succeeded,
    /// It gave none.
    Failed(Failure),
    /// It was given up, because another provider had answered first.
    Superseded,
}

impl ProviderAttempt {
    /// Why it gave no reading; none when it did, or might have.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.result {
            ProviderAttemptResult::Failed(failure) => Some(failure),
            ProviderAttemptResult::Succeeded | ProviderAttemptResult::Superseded => None,
        }
    }
}
