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
    /// What became of it.
    pub end: End,
    /// Until when it asked to be left alone (`Retry-After`).
    pub held_until: Option<Time>,
}

/// What became of one provider's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It gave the reading.
    Won,
    /// It gave none.
    Failed(Failure),
    /// It was given up, because another provider had answered first.
    Outrun,
}

impl Try {
    /// Why it gave no reading; none when it did, or might have.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.end {
            End::Failed(failure) => Some(failure),
            End::Won | End::Outrun => None,
        }
    }
}
