//! How people see a source: the operator's choice of titles, units and limits.

use std::sync::Arc;

use serde_json::Number;

/// How the panel shows a source. The default leaves everything to the panel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceAppearance {
    /// Shown instead of the name.
    pub title: Option<Arc<str>>,
    /// Heading under which the source stands with others of the same group.
    pub group: Option<Arc<str>>,
    /// Position: sources with a smaller number come first, those without a number last.
    pub order: Option<u64>,
    /// For all numbers of the source whose path has none of its own.
    pub value: ValueAppearance,
    /// The values that differ from it, by dotted path.
    pub paths: Vec<(String, PathAppearance)>,
}

/// How a number is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueAppearance {
    /// Written behind the number.
    pub unit: Option<Arc<str>>,
    /// Number of decimals.
    pub decimals: Option<u64>,
    /// Limits of concern.
    pub thresholds: Thresholds,
}

/// How the value at a path is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathAppearance {
    /// Shown instead of the key.
    pub label: Option<Arc<str>>,
    /// Replaces what the source has.
    pub value: ValueAppearance,
    /// Whether the value, and what is below it, is left out.
    pub is_hidden: bool,
    /// What the value is: one of [`PathAppearance::KINDS`].
    pub kind: Option<Arc<str>>,
}

/// Limits of a number. If `crit` is below `warn`, low numbers are bad.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The first limit.
    pub warn: Option<Number>,
    /// The second limit.
    pub crit: Option<Number>,
}

impl PathAppearance {
    /// The kinds of values that can be chosen.
    pub const KINDS: &[&str] = &["text", "link", "image", "color", "time", "duration"];
}
