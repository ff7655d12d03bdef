//! Tells when a file that the configuration was read from has changed, be it the file itself, a secret or a certificate:
//! rewritten, replaced, or reached by another link.

use std::time::Duration;

use tracing::warn;

use crate::config::FileFingerprints;

/// Between two looks. A change is told at the second look that finds it, so that a file that is still being written is
/// left alone until it rests.
const POLL_INTERVAL: Duration = Duration::from_millis(1500);

/// Files that are looked at now and then.
#[derive(Debug)]
pub(crate) struct ConfigWatcher {
    /// What was told last.
    reported: FileFingerprints,
    /// What the last look found.
    previous: FileFingerprints,
}

impl ConfigWatcher {
    /// Watches these files from this content on.
    pub(crate) fn new(seen: FileFingerprints) -> Self {
        Self {
            previous: seen.clone(),
            reported: seen,
        }
    }

    /// From now on these files matter.
    pub(crate) fn replace_files(&mut self, seen: FileFingerprints) {
        *self = Self::new(seen);
    }

    /// Waits until a file has another content, and rests.
    pub(crate) async fn wait_for_change(&mut self) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let Some(now) = read_fingerprints(&self.reported).await else {
                continue;
            };
            // What was lost at an earlier look has been told.
            for (file, error) in self.previous.missing(&now) {
                let file = file.display();
                warn!(%file, error, "a file of the configuration cannot be read; what it held goes on");
            }
            let changed = self.reported.update(&now, &self.previous);
            self.previous = now;
            if changed {
                return;
            }
        }
    }
}

/// A file system may hang; whoever waits must not. None after a panic; the log has it.
async fn read_fingerprints(files: &FileFingerprints) -> Option<FileFingerprints> {
    let files = files.clone();
    tokio::task::spawn_blocking(move || files.read_current())
        .await
        .ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::config;

    /// Looks every 1.5 s of a clock that runs ahead while nothing happens.
    async fn detects_change(watch: &mut ConfigWatcher) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.wait_for_change())
            .await
            .is_ok()
    }

    /// A watch of the configuration at this path, be it good or bad.
    fn watch_config(path: &Path) -> ConfigWatcher {
        let read = config::load(path, &|_| None);
        ConfigWatcher::new(
            read.map_or_else(|report| report.fingerprints, |config| config.fingerprints),
        )
    }

    fn swap_symlink(link: &Path, target: &Path) {
        let swap = link.with_file_name("swap");
        symlink(target, &swap).unwrap();
        fs::rename(&swap, link).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, link] = ["a", "b", "link"].map(|name| folder.path().join(name));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "2").unwrap();
        symlink(&first, &link).unwrap();
        let mut watch = watch_config(&link);
        assert!(!detects_change(&mut watch).await);
        fs::write(&first, "3").unwrap();
        assert!(detects_change(&mut watch).await);
        assert!(!detects_change(&mut watch).await);
        swap_symlink(&link, &second);
        assert!(detects_change(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn identical_content_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&path, "1").unwrap();
        let mut watch = watch_config(&path);
        fs::write(&other, "1").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!detects_change(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn change_with_same_mtime_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let age = fs::metadata(&path).unwrap().modified().unwrap();
        let mut watch = watch_config(&path);
        fs::write(&path, "2").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(age)
            .unwrap();
        assert!(detects_change(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn deleted_file_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let mut watch = watch_config(&path);
        fs::remove_file(&path).unwrap();
        assert!(!detects_change(&mut watch).await);
        fs::write(&path, "1").unwrap();
        assert!(!detects_change(&mut watch).await);
        fs::write(&path, "22").unwrap();
        assert!(detects_change(&mut watch).await);
    }

    /// Folders as Kubernetes mounts them: what is read is a link to a link that is swapped.
    #[tokio::test(start_paused = true)]
    async fn swapped_links_are_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for version in ["v1", "v2"] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("key"), format!("sesame-{version}")).unwrap();
            fs::write(root.join(version).join("ca.pem"), version).unwrap();
        }
        symlink("v1", root.join("..data")).unwrap();
        for name in ["key", "ca.pem"] {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
        let path = root.join("resumen.toml");
        fs::write(
            &path,
            "[sources.a]\nurl = \"http://x/?k=${file:key}\"\nca_file = \"ca.pem\"\n",
        )
        .unwrap();
        let mut watch = watch_config(&path);
        assert!(!detects_change(&mut watch).await);
        swap_symlink(&root.join("..data"), Path::new("v2"));
        assert!(detects_change(&mut watch).await);
        fs::write(root.join("v2/ca.pem"), "v3").unwrap();
        assert!(detects_change(&mut watch).await);
        assert!(!detects_change(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn missing_file_is_awaited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resumen.toml");
        fs::write(&path, "[sources.a]\nurl = \"http://x/?k=${file:key}\"\n").unwrap();
        let mut watch = watch_config(&path);
        assert!(!detects_change(&mut watch).await);
        fs::write(folder.path().join("key"), "sesame").unwrap();
        assert!(detects_change(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn half_written_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "0").unwrap();
        let mut watch = watch_config(&path);
        let writing = async {
            for n in 0..20 {
                fs::write(&path, format!("half {n}")).unwrap();
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        };
        tokio::select! {
            () = watch.wait_for_change() => panic!("it was still being written"),
            () = writing => {}
        }
        assert!(detects_change(&mut watch).await);
    }
}
