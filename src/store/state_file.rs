//! The state file: two generations on disk, of which one is complete at any moment, whenever the
//! program or the machine stops.
//!
//! A save writes `FILE.tmp`, flushes it, renames the file to `FILE.previous` and `FILE.tmp` to the
//! file, then flushes the folder. Only the process that holds the lock on `FILE.lock` writes; others
//! read. A file that cannot be used is renamed rather than overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::dto::RecordError;
use super::file_format::{
    DecodedStateFile, MAX_STATE_FILE_BYTES, StateFileContent, StateFormatError, decode_state_file,
    encode_within,
};
use super::private_file::{
    create_private_file, create_private_folder, fill_file, flush_folder, parent_folder,
};

/// A state file. Its methods block on disk I/O.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// `None`: another process may write, this one only reads.
    write_lock: Mutex<Option<WriteLock>>,
}

/// The right to write the file.
#[derive(Debug)]
enum WriteLock {
    /// The open lock file; closing it releases the lock.
    Held(File),
    /// The file system has no locks, so that any process may write.
    Unsupported,
}

impl WriteLock {
    /// Whether the locked file still has the name `path`. If the folder was removed, another process
    /// may have created and locked a new file of that name.
    fn is_held_at(&self, path: &Path) -> bool {
        let Self::Held(lock_file) = self else {
            return true;
        };
        match (fs::metadata(path), lock_file.metadata()) {
            (Ok(named), Ok(locked)) => (named.dev(), named.ino()) == (locked.dev(), locked.ino()),
            (Err(error), _) => error.kind() != ErrorKind::NotFound,
            (_, Err(_)) => true,
        }
    }
}

/// The result of loading a state file.
#[derive(Debug)]
pub struct LoadedState {
    /// The content of the newest complete generation.
    pub content: Option<StateFileContent>,
    /// Problems for the log, one line each.
    pub warnings: Vec<String>,
    /// The number of files that were not used and of records that were refused.
    pub error_count: u64,
}

/// Why a state was not saved; fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Another process holds the lock.
    #[error("lock {}: another program writes this state file", .0.display())]
    Busy(PathBuf),
    /// The path names something other than a regular file, which a save does not replace.
    #[error("replace {}: it is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The lock file is a symbolic link, a pipe, a folder or the like. Through a link, a lock would create or open a file
    /// elsewhere.
    #[error("lock {}: it is not a regular file", .0.display())]
    NotALockFile(PathBuf),
    /// The operating system refused an operation.
    #[error("{operation} {}: {error}", .path.display())]
    Io {
        /// The operation: a verb.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// Suffixes of the files beside the state file.
const LOCK_SUFFIX: &str = "lock";
const TEMPORARY_SUFFIX: &str = "tmp";
const PREVIOUS_SUFFIX: &str = "previous";

/// Maximum number of refused records that a warning names.
const MAX_NAMED_RECORDS: usize = 3;

impl StateFile {
    /// Returns the state file at `path` without touching the disk. A symbolic link is resolved once,
    /// here, even if its target does not exist yet.
    pub fn new(path: &Path) -> Self {
        let target = || Some(path.parent()?.join(fs::read_link(path).ok()?));
        let path = fs::canonicalize(path)
            .ok()
            .or_else(target)
            .unwrap_or_else(|| path.to_path_buf());
        Self {
            path,
            write_lock: Mutex::default(),
        }
    }

    /// Returns the path, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock on the file unless this process holds it already; returns whether it was taken
    /// now.
    pub fn acquire_write_lock(&self) -> Result<bool, StateFileError> {
        let mut write_lock = self.write_lock.lock();
        let path = self.path_with_suffix(LOCK_SUFFIX);
        if write_lock
            .as_ref()
            .is_some_and(|lock| lock.is_held_at(&path))
        {
            return Ok(false);
        }
        // Closes the lock file of a folder that was removed.
        *write_lock = None;
        self.create_folder()?;
        // Opening a pipe without `O_NONBLOCK` would wait for a reader.
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(open_flags(OFlags::NONBLOCK | OFlags::NOFOLLOW));
        let lock_file = match options.open(&path) {
            Ok(file) if file.metadata().is_ok_and(|opened| opened.is_file()) => file,
            Err(error) if fs::symlink_metadata(&path).is_ok_and(|named| named.is_file()) => {
                return Err(io_error("open", &path)(error));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(io_error("open", &path)(error));
            }
            _ => return Err(StateFileError::NotALockFile(path)),
        };
        *write_lock = Some(
            match flock(&lock_file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => WriteLock::Held(lock_file),
                Err(Errno::WOULDBLOCK) => return Err(StateFileError::Busy(self.path.clone())),
                Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK) => WriteLock::Unsupported,
                Err(error) => return Err(io_error("lock", &path)(error.into())),
            },
        );
        Ok(true)
    }

    /// Reads the newest complete generation. A generation that is damaged, too large or of another
    /// release is renamed if this process holds the lock. If single records are refused, a copy of
    /// the file is kept, because the next save replaces it.
    pub fn load(&self) -> LoadedState {
        let mut loaded = LoadedState {
            content: None,
            warnings: Vec::new(),
            error_count: 0,
        };
        for path in [self.path.clone(), self.path_with_suffix(PREVIOUS_SUFFIX)] {
            let warning = match read_regular_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => format!("failed to read {}: {error}", path.display()),
                Ok(text) => match decode_state_file(&text) {
                    Ok(DecodedStateFile { content, refused }) => {
                        loaded.content = Some(content);
                        loaded.error_count += refused.len() as u64;
                        if !refused.is_empty() {
                            let warning = self.keep_copy(&path, &text, &refused);
                            loaded.warnings.push(warning);
                        }
                        return loaded;
                    }
                    Err(error) => self.quarantine_file(&path, &text, &error),
                },
            };
            loaded.error_count += 1;
            loaded.warnings.push(warning);
        }
        loaded
    }

    /// Replaces the content of the file. The former content stays as the previous generation. Returns
    /// the number of sources that are left out because the file would be too large to be read.
    pub fn save(&self, state: &StateFileContent) -> Result<usize, StateFileError> {
        self.acquire_write_lock()?;
        let next = self.path_with_suffix(TEMPORARY_SUFFIX);
        let (text, omitted) = encode_within(state, MAX_STATE_FILE_BYTES);
        self.write_file(&next, &text)?;
        // Between the two renames only the previous generation exists, which `load` reads too.
        match fs::symlink_metadata(&self.path) {
            Ok(now) if !now.is_file() => return Err(StateFileError::NotAFile(self.path.clone())),
            Ok(_) => fs::rename(&self.path, self.path_with_suffix(PREVIOUS_SUFFIX))
                .map_err(io_error("rename", &self.path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("look at", &self.path)(error)),
        }
        fs::rename(&next, &self.path).map_err(io_error("rename", &next))?;
        // Without this flush a power failure may undo the renames.
        let folder = parent_folder(&self.path);
        flush_folder(folder).map_err(io_error("flush", folder))?;
        Ok(omitted)
    }

    fn write_file(&self, path: &Path, text: &[u8]) -> Result<(), StateFileError> {
        self.create_folder()?;
        let file = create_private_file(path).map_err(io_error("create", path))?;
        fill_file(file, path, text).map_err(io_error("write", path))
    }

    /// Renames a file that cannot be used; returns the line for the log.
    fn quarantine_file(&self, path: &Path, text: &[u8], error: &StateFormatError) -> String {
        let shown = path.display();
        // Another process writes the file and may be replacing it just now.
        if self.write_lock.lock().is_none() {
            return format!("the state file {shown} is not used: {error}");
        }
        let aside = match error {
            StateFormatError::Damaged(_) | StateFormatError::Oversize => {
                self.path_with_suffix(&format!("damaged-{:08x}", xxh3_64(text) >> 32))
            }
            StateFormatError::Version(version) => {
                self.path_with_suffix(&format!("version-{version}"))
            }
        };
        match fs::rename(path, &aside) {
            Ok(()) => format!(
                "the state file {shown} is not used: {error}; set aside as {}",
                aside.display()
            ),
            Err(why) => format!(
                "the state file {shown} is not used: {error}; failed to set it aside: {why}"
            ),
        }
    }

    /// Keeps the file under another name because of refused records; returns the line for the log.
    fn keep_copy(&self, path: &Path, text: &[u8], refused: &[(String, RecordError)]) -> String {
        let named: Vec<String> = refused
            .iter()
            .take(MAX_NAMED_RECORDS)
            .map(|(name, error)| format!("{name}: {error}"))
            .collect();
        let mut line = format!(
            "the state file {} is used without {} of its sources, whose next attempt replaces their \
             readings: {}",
            path.display(),
            refused.len(),
            named.join("; ")
        );
        if refused.len() > named.len() {
            line.push_str("; …");
        }
        // Without the lock another process writes the file, and keeps what it refuses.
        if self.write_lock.lock().is_none() {
            return line;
        }
        let copy = self.path_with_suffix(&format!("refused-{:08x}", xxh3_64(text) >> 32));
        // A second name of the same content; a file system without links needs a copy.
        let kept = match fs::hard_link(path, &copy) {
            // Not `fs::copy`, which would write through a symbolic link.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                create_private_file(&copy).and_then(|file| fill_file(file, &copy, text))
            }
            _ => Ok(()),
        };
        match kept {
            Ok(()) => line + "; the whole file is kept as " + &copy.display().to_string(),
            Err(error) => line + &format!("; failed to keep a copy of it: {error}"),
        }
    }

    fn create_folder(&self) -> Result<(), StateFileError> {
        let folder = parent_folder(&self.path);
        create_private_folder(folder).map_err(io_error("create", folder))
    }

    fn path_with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

fn open_flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or_default()
}

/// Reads a file up to one byte beyond [`MAX_STATE_FILE_BYTES`], which the decoder then refuses.
fn read_regular_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe without `O_NONBLOCK` would wait for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(open_flags(OFlags::NONBLOCK))
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_STATE_FILE_BYTES as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateFileError {
    let path = path.to_path_buf();
    move |error| StateFileError::Io {
        operation,
        path,
        error,
    }
}
