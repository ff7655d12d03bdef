//! Mode of a summary: from the snapshot, or after a live round.

use std::time::Duration;

use crate::domain::{Code, Name};

/// Mode of a summary.
#[derive(Debug, Clone, Copy)]
pub enum RenderMode<'a> {
    /// The snapshot as it is.
    Snapshot {
        /// Limit of the wait for the first attempts.
        timeout: Duration,
    },
    /// The snapshot after a live round: flights requested by this request.
    Live {
        /// Time limit of the round.
        timeout: Duration,
        /// Result of the round for each source of the selection, in the same order.
        source_results: &'a [LiveSourceResult],
        /// Whether the round started no flight and joined at least one.
        is_collapsed: bool,
    },
}

/// Result of a live round for one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveSourceResult {
    /// Origin of the reading.
    pub origin: ReadingOrigin,
    /// Time that the request waited for a flight of the source. `None` if it waited for none.
    pub wait_duration: Option<Duration>,
    /// Code of the flight's failure. `None` if it succeeded.
    pub failure_code: Option<Code>,
    /// The source whose flight was not finished at the deadline: this one or one of its inputs.
    pub late_source: Option<Name>,
}

/// Origin of a reading: the member `from` of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ReadingOrigin {
    /// A flight that this request started or joined.
    Live,
    /// The snapshot before the request.
    #[default]
    Snapshot,
}

impl RenderMode<'_> {
    /// Returns the time limit of the request.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Snapshot { timeout } | Self::Live { timeout, .. } => *timeout,
        }
    }
}

impl ReadingOrigin {
    /// Returns the text of the origin in responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Snapshot => "snapshot",
        }
    }
}
