//! Tells when the configuration's text has changed: rewritten, replaced, or reached by another link. Times and inodes say
//! nothing of that: a folder that is mounted anew changes both, a careful copy neither.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::config;

/// Between two looks. A change is told at the second look that finds it, so that a file that is still being written is
/// left alone until it rests.
const LOOK: Duration = Duration::from_millis(1500);

/// A file that is looked at now and then.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    /// The digest of the text that was told last.
    seen: u64,
    /// Whether it could not be read at the last look.
    gone: bool,
}

impl Watch {
    /// Watches the file from this text on.
    pub(super) fn new(path: &Path, seen: u64) -> Self {
        Self { path: path.to_owned(), seen, gone: false }
    }

    /// Waits until the text is another one and has rested. A file that is gone has not changed: it may be being replaced.
    pub(super) async fn changed(&mut self) {
        let mut before = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.look().await;
            if let Some(digest) = now.filter(|digest| *digest != self.seen && now == before) {
                self.seen = digest;
                return;
            }
            before = now;
        }
    }

    /// What stands there now is about to be read, so it is no change any more.
    pub(super) async fn catch_up(&mut self) {
        if let Some(digest) = self.look().await {
            self.seen = digest;
        }
    }

    async fn look(&mut self) -> Option<u64> {
        let path = self.path.clone();
        // A file system may hang; the thread that hears the signals must not.
        let digest = tokio::task::spawn_blocking(move || config::digest(&path)).await.ok()?;
        if let Err(error) = &digest
            && !self.gone
        {
            warn!(config = %self.path.display(), %error, "the configuration cannot be read; the old one goes on");
        }
        self.gone = digest.is_err();
        digest.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Looks every 1.5 s of a clock that runs ahead while nothing happens.
    async fn changes(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    fn watch(path: &Path) -> Watch {
        Watch::new(path, config::digest(path).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_a_replacement_and_another_link_are_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, link] = ["a", "b", "link"].map(|name| folder.path().join(name));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "2").unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let mut watch = watch(&link);
        assert!(!changes(&mut watch).await);
        fs::write(&first, "3").unwrap();
        assert!(changes(&mut watch).await);
        assert!(!changes(&mut watch).await);
        let swap = folder.path().join("swap");
        std::os::unix::fs::symlink(&second, &swap).unwrap();
        fs::rename(&swap, &link).unwrap();
        assert!(changes(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_text_is_no_change_however_it_came_there() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&path, "1").unwrap();
        let mut watch = watch(&path);
        fs::write(&other, "1").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!changes(&mut watch).await);
        fs::write(&path, "2").unwrap();
        watch.catch_up().await;
        assert!(!changes(&mut watch).await, "it was read on a signal");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let mut watch = watch(&path);
        fs::remove_file(&path).unwrap();
        assert!(!changes(&mut watch).await);
        fs::write(&path, "22").unwrap();
        assert!(changes(&mut watch).await);
    }
}
