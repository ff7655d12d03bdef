//! Changes of the health of a source and of its providers.

use std::time::Duration;

use super::name::Name;

/// Change of the health of a source or a provider; each change is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthChange {
    /// No change.
    #[default]
    Unchanged,
    /// First failure after a success, or a failure of the first attempt.
    Failed,
    /// First success after failures, with the time since the first of them.
    Recovered(Duration),
}

/// Changes of the health of a source and of its providers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthChanges {
    /// Change of the source.
    pub source: HealthChange,
    /// Changes of its providers; empty if the source has only one. A source stays healthy while one
    /// provider succeeds, so the failures of the others show only here.
    pub providers: Vec<(Name, HealthChange)>,
}
