//! The files that a configuration was read from, and what stood in each: to see whether one of them has changed. Times
//! and inodes say nothing of that: a folder that is mounted anew changes both, a careful copy neither.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::files;
use super::load::MAX_CONFIG_BYTES;

/// Files, each with a hash of its content or why it cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFingerprints(BTreeMap<PathBuf, Result<u64, String>>);

impl FileFingerprints {
    /// Of one file.
    pub(crate) fn from_content(path: &Path, content: Result<&[u8], &str>) -> Self {
        let mut footprint = Self::default();
        footprint.record_file(path, content);
        footprint
    }

    /// Another file was read, or could not be.
    pub(crate) fn record_file(&mut self, path: &Path, content: Result<&[u8], &str>) {
        self.0
            .insert(path.to_owned(), content.map(xxh3_64).map_err(str::to_owned));
    }

    /// What stands in the same files now. Blocks on the disk.
    #[must_use]
    pub fn read_current(&self) -> Self {
        let look = |path: &PathBuf| {
            files::read_file(path, MAX_CONFIG_BYTES).map(|content| xxh3_64(&content.bytes))
        };
        Self(
            self.0
                .keys()
                .map(|path| (path.clone(), look(path).map_err(|error| error.to_string())))
                .collect(),
        )
    }

    /// Takes over what `now` holds of the files that can be read; true if that is news, in a file that stands there as
    /// it did `before`. One that cannot be read has not changed: it may be being replaced.
    pub fn update(&mut self, now: &Self, before: &Self) -> bool {
        let is_news = |(path, digest): (&PathBuf, &Result<u64, String>)| {
            digest.is_ok() && self.0.get(path) != Some(digest) && before.0.get(path) == Some(digest)
        };
        if !now.0.iter().any(is_news) {
            return false;
        }
        let read = now.0.iter().filter(|(_, digest)| digest.is_ok());
        self.0
            .extend(read.map(|(path, digest)| (path.clone(), digest.clone())));
        true
    }

    /// The files that could be read when this was taken and cannot be read `now`, and why.
    pub fn missing<'n>(&self, now: &'n Self) -> Vec<(&'n Path, &'n str)> {
        let known = |path: &Path| self.0.get(path).is_some_and(Result::is_ok);
        let lost = |(path, digest): (&'n PathBuf, &'n Result<u64, String>)| {
            Some((path.as_path(), digest.as_ref().err()?.as_str())).filter(|(path, _)| known(path))
        };
        now.0.iter().filter_map(lost).collect()
    }
}
