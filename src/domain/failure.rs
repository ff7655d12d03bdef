//! The cause of a failed attempt.

use std::fmt;
use std::sync::Arc;

use super::code::Code;
use super::timestamp::Time;

/// Cause of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Stable code, for clients and alerts.
    pub code: Code,
    /// Message for people: the event, its phase, the limit, the remedy. It contains no URL, no
    /// header value, and at most 120 escaped characters of a body.
    pub message: Arc<str>,
    /// Whether the cause does not pass by itself, such as a wrong key or path: an early repetition is
    /// pointless.
    pub is_lasting: bool,
}

impl Failure {
    /// Returns a failure with this code and message. It is lasting if every failure of the code is.
    pub fn new(code: Code, message: impl Into<Arc<str>>) -> Self {
        Self {
            code,
            message: message.into(),
            is_lasting: matches!(code, Code::RedirectBlocked | Code::AuthFailed),
        }
    }

    /// Returns this failure as one whose cause does not pass by itself, if `is_lasting`.
    #[must_use]
    pub fn with_lasting(self, is_lasting: bool) -> Self {
        Self { is_lasting, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Failure {}

/// Failure of a whole attempt, dated by the start of that attempt. The order (by start, then code
/// and message) is total, so merging does not depend on the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureRecord {
    /// Start of the attempt.
    pub started_at: Time,
    /// Cause of its failure.
    pub failure: Failure,
}
