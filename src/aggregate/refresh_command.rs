//! The commands that the refresher receives.

use crate::domain::{Name, Time};

/// A change of the schedule.
#[derive(Debug, Clone)]
pub enum RefreshCommand {
    /// An attempt ended and the next one is planned.
    Planned {
        /// The source.
        source: Name,
        /// When the next attempt is due.
        at: Time,
    },
    /// An attempt at this source ended without an outcome: the plan in the snapshot still holds.
    PlanUnchanged(Name),
    /// The sources or all their plans changed: the snapshot has the new ones.
    SourcesChanged,
}
