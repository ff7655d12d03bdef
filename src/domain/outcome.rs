//! What an attempt ended with.

use std::time::Duration;

use super::{Failure, Identity, Name, Reading, Time};

/// The end of one attempt at one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whose attempt it was.
    pub source: Name,
    /// To which definition of it the reading belongs: a reload may have changed the filters meanwhile.
    pub identity: Identity,
    /// When it began.
    pub at: Time,
    /// How long it took.
    pub took: Duration,
    /// The reading, or why there is none.
    pub result: Result<Reading, Failure>,
    /// What happened at each provider that took part or was held back, in order of preference.
    pub tries: Vec<Try>,
}

/// What one provider did in one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// Who was asked.
    pub provider: Name,
    /// When its request began.
    pub at: Time,
    /// How long it took.
    pub took: Duration,
    /// Why it gave no reading; none when it did. A loser of the race that was cancelled has no `Try`.
    pub failure: Option<Failure>,
    /// Until when it asked to be left alone (`Retry-After`).
    pub held_until: Option<Time>,
}
