//! The file with a refresh token: one line, readable by its owner only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::{MAX_FILE_BYTES, read_regular_file};
use crate::store::private_file::{
    create_private_file, create_private_folder, fill_file, flush_folder, parent_folder,
};
use crate::text::{UnitStyle, format_duration};

/// Maximum time that a login waits for the file: a file system that hangs does not stop the logins.
pub(super) const FILE_TIMEOUT: Duration = Duration::from_secs(2);

/// A `token_file`.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    /// The token that was last written. Locked during a write.
    written: Mutex<Option<Arc<str>>>,
    /// The token that the file is to have.
    wanted: Mutex<Option<Arc<str>>>,
}

impl TokenFile {
    pub(super) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            written: Mutex::default(),
            wanted: Mutex::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the token in the file; `None` if the file does not exist or is empty. Blocks.
    pub(super) fn read_blocking(&self) -> io::Result<Option<Arc<str>>> {
        read_token(&self.path)
    }

    /// Returns the token in the file, within [`FILE_TIMEOUT`].
    pub(super) async fn read(self: &Arc<Self>) -> io::Result<Option<Arc<str>>> {
        let file = Arc::clone(self);
        run_within(FILE_TIMEOUT, move || file.read_blocking()).await
    }

    /// Replaces the token in the file unless it was the last one written. After [`FILE_TIMEOUT`] the write goes on, but is
    /// an error.
    pub(super) async fn write(self: &Arc<Self>, token: Arc<str>) -> io::Result<()> {
        *self.wanted.lock() = Some(token);
        let file = Arc::clone(self);
        run_within(FILE_TIMEOUT, move || file.write_wanted()).await
    }

    /// Writes the newest token. Blocks.
    fn write_wanted(&self) -> io::Result<()> {
        // Bounded: waiting threads must not add up while a file system hangs.
        let Some(mut written) = self.written.try_lock_for(FILE_TIMEOUT) else {
            return Err(io::Error::other("the write before it has not ended"));
        };
        loop {
            // Read under the lock: an older token never replaces a newer one.
            let wanted = self.wanted.lock().clone();
            match &wanted {
                Some(token) if wanted != *written => write_token(&self.path, token)?,
                _ => return Ok(()),
            }
            *written = wanted;
        }
    }
}

/// Runs `work` on a blocking thread and waits for it. After `limit` it goes on, and the result is an error.
async fn run_within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if let Ok(ended) = timeout(limit, spawn_blocking(work)).await {
        return ended.map_err(io::Error::other)?;
    }
    let limit = format_duration(limit, UnitStyle::Message);
    let message = format!("the file system did not answer within {limit}");
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
}

fn read_token(path: &Path) -> io::Result<Option<Arc<str>>> {
    let content = match read_regular_file(path, MAX_FILE_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8(content.bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    let token = text.trim();
    Ok((!token.is_empty()).then(|| token.into()))
}

/// Replaces the token in the file, at once or not at all.
fn write_token(path: &Path, token: &str) -> io::Result<()> {
    let folder = parent_folder(path);
    create_private_folder(folder)?;
    let mut next = path.as_os_str().to_owned();
    next.push(".tmp");
    let next = Path::new(&next);
    let file = create_private_file(next)?;
    fill_file(file, next, format!("{token}\n").as_bytes())?;
    fs::rename(next, path)?;
    flush_folder(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn token_survives_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/bank.token");
        assert_eq!(read_token(&path).unwrap(), None);
        for token in ["first", "second"] {
            write_token(&path, token).unwrap();
            assert_eq!(read_token(&path).unwrap().as_deref(), Some(token));
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let state = fs::metadata(folder.path().join("state")).unwrap();
        assert_eq!(state.permissions().mode() & 0o777, 0o700);
        assert!(read_token(folder.path()).is_err());
        assert!(write_token(Path::new("/proc/none/token"), "x").is_err());
    }

    #[test]
    fn unusual_token_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, vec![b'x'; MAX_FILE_BYTES as usize + 1]).unwrap();
        let message = |path: &Path| read_token(path).unwrap_err().to_string();
        assert!(message(&path).contains("larger than 64 KiB"));
        assert!(message(Path::new("/dev/zero")).contains("not a regular file"));
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(message(&path), "it is not UTF-8");
    }

    #[test]
    fn token_is_written_through_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("token"), folder.path().join("elsewhere"));
        fs::write(&elsewhere, "content").unwrap();
        for link in [path.with_extension("tmp"), path.clone()] {
            std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
            write_token(&path, "new").unwrap();
            assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "content");
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            fs::remove_file(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn hanging_file_system_is_not_waited_for() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let work = move || released.recv().map_err(io::Error::other);
        let error = run_within(Duration::from_millis(20), work).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        release.send(()).unwrap();
    }

    #[test]
    fn late_write_has_the_newest_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(&folder.path().join("token"));
        // As if a write before hung.
        let held = file.written.lock();
        *file.wanted.lock() = Some("old".into());
        let late = Arc::clone(&file);
        let late = std::thread::spawn(move || late.write_wanted());
        *file.wanted.lock() = Some("new".into());
        drop(held);
        late.join().unwrap().unwrap();
        assert_eq!(file.read_blocking().unwrap().as_deref(), Some("new"));
    }
}
