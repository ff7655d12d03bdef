//! The version of an answer: the same for everyone who knows the same.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::domain::{Name, SourceView};

/// A hash over the sources of an answer, in order: name, `fetched_at`, `data`, `provider`, `code`, and
/// fresh/stale/missing. It does not change with the release, the machine or the age. Shown as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SummaryVersion(u64);

impl fmt::Display for SummaryVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Takes in one source after another.
#[derive(Default)]
pub(super) struct VersionHasher(Xxh3);

impl VersionHasher {
    pub(super) fn add_source(&mut self, name: &Name, state: &SourceView<'_>) {
        self.hash_text(name.as_str());
        match &state.reading {
            Some(reading) => {
                self.0.update(&reading.fetched_at.as_millis().to_le_bytes());
                self.hash_text(reading.data.as_json());
                self.hash_text(reading.provider.as_str());
            }
            None => self.hash_text(""),
        }
        self.hash_text(state.failure.as_ref().map_or("", |e| e.code.as_str()));
        self.hash_text(state.freshness.as_str());
    }

    pub(super) fn finish(&self) -> SummaryVersion {
        SummaryVersion(self.0.digest())
    }

    /// Length first, so that no two lists of texts look alike.
    fn hash_text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}
