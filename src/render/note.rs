//! What a live round has to say of one source of its answer.

use std::time::Duration;

use crate::domain::{Code, Name};

/// What a live round did for one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Where its reading came from.
    pub origin: Origin,
    /// How long this request waited for the source's flight; none if there was nothing to wait for.
    pub waited: Option<Duration>,
    /// Why the flight that this request waited for gave no reading.
    pub failed: Option<Code>,
    /// The source that was not back by the deadline: this one, or an input of it.
    pub late: Option<Name>,
}

/// Where a reading came from: `from` in the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// This request's fan-out, or a flight that it joined.
    Live,
    /// What was there before.
    #[default]
    Snapshot,
}

impl Origin {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Snapshot => "snapshot",
        }
    }
}
