//! What a live round has to say of one source of its answer.

use std::time::Duration;

use crate::domain::{Code, Name};

/// What a live round did for one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveSourceResult {
    /// Where its reading came from.
    pub origin: ReadingOrigin,
    /// How long this request waited for the source's flight; none if there was nothing to wait for.
    pub wait_duration: Option<Duration>,
    /// Why the flight that this request waited for gave no reading.
    pub failure_code: Option<Code>,
    /// The source that was not back by the deadline: this one, or an input of it.
    pub late_source: Option<Name>,
}

/// Where a reading came from: `from` in the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadingOrigin {
    /// This request's fan-out, or a flight that it joined.
    Live,
    /// What was there before.
    #[default]
    Snapshot,
}

impl ReadingOrigin {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Snapshot => "snapshot",
        }
    }
}
