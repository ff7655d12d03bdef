//! Data that a provider supplied.

use std::sync::Arc;
use std::time::Duration;

use super::name::Name;
use super::timestamp::Time;

/// One JSON value as compact text. Digits of numbers and order of members are those of the
/// provider. Valid by RFC 8259 and within the depth limit. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonData(Arc<str>);

impl JsonData {
    /// Wraps `json`, which must be one valid JSON value on one line.
    pub fn from_checked(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    /// Returns whether both are clones of one value, in constant time.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// Data extracted from one successful response. The order (by `fetched_at`, then provider and data)
/// is total, so merging does not depend on the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reading {
    /// Time at which the request was sent. For a derived source, that of its oldest input.
    pub fetched_at: Time,
    /// Name of the provider. For a derived source, its own name.
    pub provider: Name,
    /// Extracted data.
    pub data: JsonData,
    /// By how much `ttl` grows for this reading, at most 1 day: its next attempt is that much later than
    /// `interval`, because the provider's cache headers say so.
    pub extra_ttl: Duration,
}
