//! Detects a change of the files that the configuration was read from: rewritten, replaced, or linked elsewhere.

use std::time::Duration;

use tracing::warn;

use crate::config::FileFingerprints;

/// Time between two reads of the files. A change is reported at the second read that finds the same content, so that a
/// file is not reloaded while an editor still writes it.
const POLL_INTERVAL: Duration = Duration::from_millis(1500);

/// Polls the configuration file and the files that it names.
#[derive(Debug)]
pub(super) struct ConfigWatcher {
    /// Fingerprints that were reported last.
    reported: FileFingerprints,
    /// Fingerprints at the previous read.
    previous: FileFingerprints,
}

impl ConfigWatcher {
    /// Watches these files for content other than `loaded`.
    pub(super) fn new(loaded: FileFingerprints) -> Self {
        Self {
            previous: loaded.clone(),
            reported: loaded,
        }
    }

    /// Waits until a file has other content and is no longer being written.
    pub(super) async fn wait_for_change(&mut self) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let files = self.reported.clone();
            // On a blocking thread: a network file system may hang. An error is a panic, which is logged where it
            // happens; the next poll tries again.
            let read = tokio::task::spawn_blocking(move || files.read_current()).await;
            let Ok(current) = read else { continue };
            for (file, error) in self.previous.missing(&current) {
                let file = file.display();
                warn!(%file, error, "configuration file unreadable; its last content stays in effect");
            }
            let changed = self.reported.update(&current, &self.previous);
            self.previous = current;
            if changed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::config;

    /// Whether a change is reported within three polls. The paused clock advances while the runtime is idle.
    async fn detects_change(watcher: &mut ConfigWatcher) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watcher.wait_for_change())
            .await
            .is_ok()
    }

    /// Returns a watcher of the configuration at `path`, valid or not.
    fn watch_config(path: &Path) -> ConfigWatcher {
        let fingerprints = match config::load(path, &|_| None) {
            Ok(config) => config.fingerprints,
            Err(error) => error.fingerprints,
        };
        ConfigWatcher::new(fingerprints)
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
        let mut watcher = watch_config(&link);
        assert!(!detects_change(&mut watcher).await);
        fs::write(&first, "3").unwrap();
        assert!(detects_change(&mut watcher).await);
        assert!(!detects_change(&mut watcher).await);
        swap_symlink(&link, &second);
        assert!(detects_change(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn identical_content_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&path, "1").unwrap();
        let mut watcher = watch_config(&path);
        fs::write(&other, "1").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!detects_change(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn change_with_same_mtime_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let age = fs::metadata(&path).unwrap().modified().unwrap();
        let mut watcher = watch_config(&path);
        fs::write(&path, "2").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(age)
            .unwrap();
        assert!(detects_change(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn deleted_file_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let mut watcher = watch_config(&path);
        fs::remove_file(&path).unwrap();
        assert!(!detects_change(&mut watcher).await);
        fs::write(&path, "1").unwrap();
        assert!(!detects_change(&mut watcher).await);
        fs::write(&path, "22").unwrap();
        assert!(detects_change(&mut watcher).await);
    }

    /// Kubernetes mounts a volume as links through `..data`, a link that it replaces at an update.
    #[tokio::test(start_paused = true)]
    async fn swapped_links_are_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for version in ["v1", "v2"] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("key"), format!("sesame-{version}")).unwrap();
            for name in ["ca.pem", "client.pem", "client.key"] {
                fs::write(root.join(version).join(name), version).unwrap();
            }
        }
        symlink("v1", root.join("..data")).unwrap();
        for name in ["key", "ca.pem", "client.pem", "client.key"] {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
        let path = root.join("resumen.toml");
        fs::write(
            &path,
            "[sources.a]\nurl = \"http://x/?k=${file:key}\"\nca_file = \"ca.pem\"\n\
             cert_file = \"client.pem\"\nkey_file = \"client.key\"\n",
        )
        .unwrap();
        let mut watcher = watch_config(&path);
        assert!(!detects_change(&mut watcher).await);
        swap_symlink(&root.join("..data"), Path::new("v2"));
        assert!(detects_change(&mut watcher).await);
        for name in ["ca.pem", "client.pem", "client.key"] {
            fs::write(root.join("v2").join(name), "v3").unwrap();
            assert!(detects_change(&mut watcher).await, "{name}");
        }
        assert!(!detects_change(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn missing_file_is_awaited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resumen.toml");
        fs::write(&path, "[sources.a]\nurl = \"http://x/?k=${file:key}\"\n").unwrap();
        let mut watcher = watch_config(&path);
        assert!(!detects_change(&mut watcher).await);
        fs::write(folder.path().join("key"), "sesame").unwrap();
        assert!(detects_change(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn half_written_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "0").unwrap();
        let mut watcher = watch_config(&path);
        let writing = async {
            for n in 0..20 {
                fs::write(&path, format!("half {n}")).unwrap();
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        };
        tokio::select! {
            () = watcher.wait_for_change() => panic!("a change was reported while the file was being written"),
            () = writing => {}
        }
        assert!(detects_change(&mut watcher).await);
    }
}
