//! Tells when a file that the configuration was read from has changed, be it the file itself, a secret or a certificate:
//! rewritten, replaced, or reached by another link.

use std::time::Duration;

use tracing::warn;

use crate::config::Footprint;

/// Between two looks. A change is told at the second look that finds it, so that a file that is still being written is
/// left alone until it rests.
const LOOK: Duration = Duration::from_millis(1500);

/// Files that are looked at now and then.
#[derive(Debug)]
pub(super) struct Watch {
    /// What was told last.
    seen: Footprint,
    /// What the last look found.
    before: Footprint,
}

impl Watch {
    /// Watches these files from this content on.
    pub(super) fn new(seen: Footprint) -> Self {
        Self {
            before: seen.clone(),
            seen,
        }
    }

    /// From now on these files matter.
    pub(super) fn follow(&mut self, seen: Footprint) {
        *self = Self::new(seen);
    }

    /// Waits until a file has another content, and rests.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(now) = look(&self.seen).await else {
                continue;
            };
            // What was lost at an earlier look has been told.
            for (file, error) in self.before.lost(&now) {
                let file = file.display();
                warn!(%file, error, "a file of the configuration cannot be read; what it held goes on");
            }
            let changed = self.seen.catch_up(&now, &self.before);
            self.before = now;
            if changed {
                return;
            }
        }
    }
}

/// A file system may hang; whoever waits must not. None after a panic; the log has it.
async fn look(files: &Footprint) -> Option<Footprint> {
    let files = files.clone();
    tokio::task::spawn_blocking(move || files.look()).await.ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::config;

    /// Looks every 1.5 s of a clock that runs ahead while nothing happens.
    async fn changes(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed())
            .await
            .is_ok()
    }

    /// A watch of the configuration at this path, be it good or bad.
    fn watch(path: &Path) -> Watch {
        let read = config::load(path, &|_| None);
        Watch::new(read.map_or_else(|report| report.read_from, |config| config.read_from))
    }

    fn replace(link: &Path, target: &Path) {
        let swap = link.with_file_name("swap");
        symlink(target, &swap).unwrap();
        fs::rename(&swap, link).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_a_replacement_and_another_link_are_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, link] = ["a", "b", "link"].map(|name| folder.path().join(name));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "2").unwrap();
        symlink(&first, &link).unwrap();
        let mut watch = watch(&link);
        assert!(!changes(&mut watch).await);
        fs::write(&first, "3").unwrap();
        assert!(changes(&mut watch).await);
        assert!(!changes(&mut watch).await);
        replace(&link, &second);
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
    }

    #[tokio::test(start_paused = true)]
    async fn another_text_of_the_same_age_and_length_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let age = fs::metadata(&path).unwrap().modified().unwrap();
        let mut watch = watch(&path);
        fs::write(&path, "2").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(age)
            .unwrap();
        assert!(changes(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let mut watch = watch(&path);
        fs::remove_file(&path).unwrap();
        assert!(!changes(&mut watch).await);
        fs::write(&path, "1").unwrap();
        assert!(!changes(&mut watch).await);
        fs::write(&path, "22").unwrap();
        assert!(changes(&mut watch).await);
    }

    /// Folders as Kubernetes mounts them: what is read is a link to a link that is swapped.
    #[tokio::test(start_paused = true)]
    async fn a_secret_and_a_certificate_behind_swapped_links_are_watched_too() {
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
        let mut watch = watch(&path);
        assert!(!changes(&mut watch).await);
        replace(&root.join("..data"), Path::new("v2"));
        assert!(changes(&mut watch).await);
        fs::write(root.join("v2/ca.pem"), "v3").unwrap();
        assert!(changes(&mut watch).await);
        assert!(!changes(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_was_missing_when_it_was_refused_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resumen.toml");
        fs::write(&path, "[sources.a]\nurl = \"http://x/?k=${file:key}\"\n").unwrap();
        let mut watch = watch(&path);
        assert!(!changes(&mut watch).await);
        fs::write(folder.path().join("key"), "sesame").unwrap();
        assert!(changes(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_left_alone_until_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "0").unwrap();
        let mut watch = watch(&path);
        let writing = async {
            for n in 0..20 {
                fs::write(&path, format!("half {n}")).unwrap();
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        };
        tokio::select! {
            () = watch.changed() => panic!("it was still being written"),
            () = writing => {}
        }
        assert!(changes(&mut watch).await);
    }
}
