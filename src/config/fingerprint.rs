//! Content hashes of the files that a configuration was read from. They detect a change of a file.
//!
//! Modification times and inodes do not: a folder that is mounted anew changes both, and a copy may keep both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::files;

/// Files, each with the hash of its content or the reason why it cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFingerprints(BTreeMap<PathBuf, Result<u64, String>>);

impl FileFingerprints {
    /// Adds a file with its content, or with the reason why it cannot be read.
    pub(super) fn record_file(&mut self, path: &Path, content: Result<&[u8], &str>) {
        let hash = content.map(xxh3_64).map_err(str::to_owned);
        self.0.insert(path.to_owned(), hash);
    }

    /// The fingerprints of the same files as they are now. Blocks on the disk.
    #[must_use]
    pub fn read_current(&self) -> Self {
        let read = |path: &PathBuf| {
            let content = files::read_file(path, files::MAX_CONFIG_BYTES);
            (path.clone(), content.map(|content| xxh3_64(&content.bytes)))
        };
        Self(self.0.keys().map(read).collect())
    }

    /// Takes over the readable files of `now`, and returns true, if one of them differs from `self` and equals
    /// `before`: it has changed and is not being written any more. A file that cannot be read counts as unchanged,
    /// since it may be about to be replaced.
    pub fn update(&mut self, now: &Self, before: &Self) -> bool {
        let has_changed = |(path, hash): (&PathBuf, &Result<u64, String>)| {
            hash.is_ok() && self.0.get(path) != Some(hash) && before.0.get(path) == Some(hash)
        };
        if !now.0.iter().any(has_changed) {
            return false;
        }
        let readable = now.0.iter().filter(|(_, hash)| hash.is_ok());
        let readable = readable.map(|(path, hash)| (path.clone(), hash.clone()));
        self.0.extend(readable);
        true
    }

    /// The files that were readable in `self` and are not in `now`, each with the reason.
    pub fn missing<'n>(&self, now: &'n Self) -> Vec<(&'n Path, &'n str)> {
        let was_readable = |path: &Path| self.0.get(path).is_some_and(Result::is_ok);
        let errors = now.0.iter().filter_map(|(path, hash)| {
            let error = hash.as_ref().err()?.as_str();
            was_readable(path).then_some((path.as_path(), error))
        });
        errors.collect()
    }
}
