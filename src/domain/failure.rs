//! Why an attempt gave no reading.

use std::fmt;
use std::sync::Arc;

use super::code::Code;
use super::timestamp::Time;

/// A stable code and a clear message: what happened, in which phase, against which limit, what to do. The message
/// holds no URL, no header value, and at most 120 escaped characters of a body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// What clients and alerts rely on.
    pub code: Code,
    /// What people read.
    pub message: Arc<str>,
}

impl Failure {
    /// A failure with its message.
    pub fn new(code: Code, message: impl Into<Arc<str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Failure {}

/// A failure of a whole attempt, with the instant at which that attempt began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureRecord {
    /// When the attempt began.
    pub started_at: Time,
    /// Why it gave no reading.
    pub failure: Failure,
}
