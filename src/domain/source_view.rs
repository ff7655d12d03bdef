//! State of one source as a response shows it.

use std::borrow::Cow;
use std::time::Duration;

use super::code::Code;
use super::freshness::Freshness;
use super::name::Name;
use super::reading::JsonData;
use super::timestamp::Time;

/// State of one source at one time, as a response shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceView<'s> {
    /// Freshness of the reading.
    pub freshness: Freshness,
    /// The reading; `None` if missing.
    pub reading: Option<CurrentReading<'s>>,
    /// Failure of the latest attempt, or the cause of a missing reading. `None` if there is
    /// neither.
    pub failure: Option<ShownFailure<'s>>,
    /// Duration of the latest finished attempt.
    pub last_duration: Option<Duration>,
    /// `ttl` − age in milliseconds, the smallest of the inputs for a derived source; negative once
    /// stale. `None` if missing.
    pub remaining_ms: Option<i64>,
}

/// A reading that is fresh or stale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurrentReading<'s> {
    /// Extracted data.
    pub data: &'s JsonData,
    /// Name of the provider; for a derived source, its own name.
    pub provider: &'s Name,
    /// Time at which the request was sent; for a derived source, that of its oldest input.
    pub fetched_at: Time,
}

/// A failure as a response shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownFailure<'s> {
    /// Stable code.
    pub code: Code,
    /// Message; for a failed input of a derived source it begins with the name of the input.
    pub message: Cow<'s, str>,
    /// Start of the first failed attempt since the last success. `None` if no attempt failed.
    pub failing_since: Option<Time>,
}

impl SourceView<'_> {
    /// Returns whether the reading is older than its `ttl` but not missing.
    pub fn is_stale(&self) -> bool {
        self.freshness == Freshness::Stale
    }
}
