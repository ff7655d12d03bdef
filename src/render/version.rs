//! Version of a summary.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::domain::{ClockShift, Name, SourceView};

/// Hash over the sources of a summary, in order: name, `fetched_at`, data, provider, code and
/// freshness. Replicas with the same snapshot have the same version; the release, the machine and
/// the age do not change it. Displayed as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SummaryVersion(u64);

impl fmt::Display for SummaryVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Incremental hash of the sources of a summary.
#[derive(Default)]
pub(super) struct VersionHasher(Xxh3);

impl VersionHasher {
    pub(super) fn add_source(&mut self, name: &Name, view: &SourceView<'_>, shift: ClockShift) {
        self.hash_text(name.as_str());
        match &view.reading {
            Some(reading) => {
                // A fixed byte order: replicas on different machines must compute the same hash.
                let fetched_at = shift.apply(reading.fetched_at);
                self.0.update(&fetched_at.as_millis().to_le_bytes());
                self.hash_text(reading.data.as_json());
                self.hash_text(reading.provider.as_str());
            }
            None => self.hash_text(""),
        }
        self.hash_text(view.failure.as_ref().map_or("", |f| f.code.as_str()));
        self.hash_text(view.freshness.as_str());
    }

    /// Adds the path of the only value that is shown, so that two values of a source have two versions.
    pub(super) fn add_path(&mut self, path: &[String]) {
        for segment in path {
            self.hash_text(segment);
        }
    }

    pub(super) fn finish(&self) -> SummaryVersion {
        SummaryVersion(self.0.digest())
    }

    /// Adds one text. The length prefix makes the encoding of a list of texts unambiguous.
    fn hash_text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}
