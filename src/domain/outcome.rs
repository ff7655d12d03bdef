//! Outcomes: of an attempt at a fetched source, and of a computation of a derived one.

use std::time::Duration;

use super::failure::Failure;
use super::identity::SourceIdentity;
use super::name::Name;
use super::reading::{JsonData, Reading};
use super::timestamp::Time;

/// Outcome of one attempt at one fetched source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the source.
    pub source: Name,
    /// Definition of the source that the attempt used; a reload may have replaced it since.
    pub identity: SourceIdentity,
    /// Start of the attempt.
    pub started_at: Time,
    /// Duration of the attempt.
    pub duration: Duration,
    /// The reading, or the cause of the failure.
    pub result: Result<Reading, Failure>,
    /// Attempts at the providers in order of preference, including providers held back by
    /// `Retry-After`.
    pub provider_attempts: Vec<ProviderAttempt>,
}

/// The part of one provider in one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAttempt {
    /// Name of the provider.
    pub provider: Name,
    /// Start of its request.
    pub started_at: Time,
    /// Duration of its request.
    pub duration: Duration,
    /// Result of its request.
    pub result: ProviderAttemptResult,
    /// End of its `Retry-After`; no request is sent to the provider before. Of a success, the end of the lifetime that
    /// its cache headers give; the source is not attempted before. `None` without one.
    pub held_until: Option<Time>,
}

/// Result of one provider's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAttemptResult {
    /// The provider supplied the reading.
    Succeeded,
    /// The request failed.
    Failed(Failure),
    /// The request was cancelled because another provider had already supplied the reading.
    Superseded,
}

/// Outcome of one computation of a derived source.
#[derive(Debug, Clone)]
pub struct DerivedComputation {
    /// Definition of the source that the computation used; a reload may have replaced it since.
    pub identity: SourceIdentity,
    /// Versions (`fetched_at`) of the fetched sources that the computation used.
    pub input_versions: Vec<(Name, Time)>,
    /// Time of the computation.
    pub computed_at: Time,
    /// Duration of the computation.
    pub duration: Duration,
    /// The data, or the cause of the failure.
    pub result: Result<JsonData, Failure>,
}

impl ProviderAttempt {
    /// Returns the failure; `None` if the request succeeded or was superseded.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.result {
            ProviderAttemptResult::Failed(failure) => Some(failure),
            ProviderAttemptResult::Succeeded | ProviderAttemptResult::Superseded => None,
        }
    }
}
