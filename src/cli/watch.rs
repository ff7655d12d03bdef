//! Tells when a file has changed: rewritten, replaced, or reached by another link.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks. A change is told at the second look that finds it, so that a file that is still being written is
/// left alone until it rests.
const LOOK: Duration = Duration::from_millis(1500);

/// A file that is looked at now and then.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    seen: Option<Print>,
}

/// What differs between two versions of a file: device, inode, length, seconds and nanoseconds of the last change.
type Print = (u64, u64, u64, i64, i64);

impl Watch {
    /// Watches the file from how it is now.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: print(path) }
    }

    /// Waits until the file has changed and then rested. One that is gone has not changed: it may be being replaced.
    pub(super) async fn changed(&mut self) {
        let mut before = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let path = self.path.clone();
            // A file system may hang; the thread that serves must not.
            let now = tokio::task::spawn_blocking(move || print(&path)).await.unwrap_or_default();
            if now.is_some() && now != self.seen && now == before {
                self.seen = now;
                return;
            }
            before = now;
        }
    }
}

fn print(path: &Path) -> Option<Print> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Looks every 1.5 s of a clock that runs ahead while nothing happens.
    async fn changes(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_a_replacement_and_another_link_are_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, link] = ["a", "b", "link"].map(|name| folder.path().join(name));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "2").unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let mut watch = Watch::new(&link);
        assert!(!changes(&mut watch).await);
        fs::write(&first, "longer").unwrap();
        assert!(changes(&mut watch).await);
        assert!(!changes(&mut watch).await);
        let swap = folder.path().join("swap");
        std::os::unix::fs::symlink(&second, &swap).unwrap();
        fs::rename(&swap, &link).unwrap();
        assert!(changes(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let mut watch = Watch::new(&path);
        fs::remove_file(&path).unwrap();
        assert!(!changes(&mut watch).await);
        fs::write(&path, "22").unwrap();
        assert!(changes(&mut watch).await);
    }
}
