//! What a provider told.

use std::sync::Arc;

use super::name::Name;
use super::timestamp::Time;

/// One JSON value as compact text, digits and order of members kept as the provider gave them. Whoever makes one has
/// checked it against RFC 8259 and the depth limit; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonData(Arc<str>);

impl JsonData {
    /// Takes a text that is known to be one valid JSON value on one line.
    pub fn from_checked(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// Data extracted from one successful answer. The order (later first sent wins, then provider and data) is total, so
/// that merging never depends on who came first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reading {
    /// When the request was sent that brought the data.
    pub fetched_at: Time,
    /// Who answered.
    pub provider: Name,
    /// What was extracted.
    pub data: JsonData,
}
