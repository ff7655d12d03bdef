//! The state file: two generations, so that one of them is whole whenever the program or the machine stops.
//!
//! A save writes `FILE.tmp`, flushes it to the disk, makes the file the generation before (`FILE.previous`) and the new
//! one the file, then flushes the folder. Whoever holds `FILE.lock` writes; others only read. What cannot be used is set
//! aside under another name rather than overwritten.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::file_format::{StateFormatError, decode_state_file, encode_state_file};
use crate::store::StateFileContent;

/// A state file. Its methods block on the disk.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    write_lock: Mutex<Option<WriteLock>>,
}

/// The right to write.
#[derive(Debug)]
enum WriteLock {
    Held(File),
    /// This file system has no locks.
    Unsupported,
}

impl WriteLock {
    /// Whether what is locked still stands at `path`: whoever removes the folder takes the lock along, and another
    /// program may have made a new one.
    fn is_held_at(&self, path: &Path) -> bool {
        let Self::Held(lock) = self else {
            return true;
        };
        match (fs::metadata(path), lock.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            (Err(error), _) => error.kind() != ErrorKind::NotFound,
            (_, Err(_)) => true,
        }
    }
}

/// What a file gave.
#[derive(Debug)]
pub struct LoadedState {
    /// The newest whole generation.
    pub content: Option<StateFileContent>,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
}

/// Why a state could not be saved; fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Another program writes it.
    #[error("lock {}: another program writes this state file", .0.display())]
    Busy(PathBuf),
    /// What stands there is not ours to replace.
    #[error("replace {}: it is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The disk or its rights.
    #[error("{operation} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The end of a path's name that says what it is to the state file.
const LOCK_SUFFIX: &str = "lock";
const TEMPORARY_SUFFIX: &str = "tmp";
const PREVIOUS_SUFFIX: &str = "previous";

impl StateFile {
    /// The state file at this path; a symbolic link is followed now, once, even if nothing is there yet. Nothing is made
    /// yet.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that this program, and no other, may write; true if that is new.
    pub fn acquire_write_lock(&self) -> Result<bool, StateFileError> {
        let mut claim = self.write_lock.lock();
        let path = self.path_with_suffix(LOCK_SUFFIX);
        if claim.as_ref().is_some_and(|claim| claim.is_held_at(&path)) {
            return Ok(false);
        }
        *claim = None;
        self.create_folder()?;
        // Never waits for a reader of a pipe that stands there.
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nonblocking_flag());
        let opened = options.open(&path);
        let lock = opened.map_err(state_file_io_error("open", &path))?;
        *claim = Some(
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => WriteLock::Held(lock),
                Err(Errno::WOULDBLOCK) => return Err(StateFileError::Busy(self.path.clone())),
                Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK) => WriteLock::Unsupported,
                Err(error) => return Err(state_file_io_error("lock", &path)(error.into())),
            },
        );
        Ok(true)
    }

    /// Reads the newest whole generation. A damaged one, or one of another release, is set aside if this program may
    /// write.
    pub fn load(&self) -> LoadedState {
        let mut loaded = LoadedState {
            content: None,
            warnings: Vec::new(),
        };
        for path in [self.path.clone(), self.path_with_suffix(PREVIOUS_SUFFIX)] {
            let text = match read_regular_file(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    loaded
                        .warnings
                        .push(format!("failed to read {}: {error}", path.display()));
                    continue;
                }
            };
            match decode_state_file(&text) {
                Ok(state) => {
                    loaded.content = Some(state);
                    return loaded;
                }
                Err(error) => loaded
                    .warnings
                    .push(self.quarantine_file(&path, &text, &error)),
            }
        }
        loaded
    }

    /// Replaces the file's content; the one before stays as the previous generation.
    pub fn save(&self, state: &StateFileContent) -> Result<(), StateFileError> {
        self.acquire_write_lock()?;
        let next = self.path_with_suffix(TEMPORARY_SUFFIX);
        self.write_file(&next, &encode_state_file(state))?;
        match fs::symlink_metadata(&self.path) {
            Ok(now) if !now.is_file() => return Err(StateFileError::NotAFile(self.path.clone())),
            Ok(_) => fs::rename(&self.path, self.path_with_suffix(PREVIOUS_SUFFIX))
                .map_err(state_file_io_error("rename", &self.path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(state_file_io_error("look at", &self.path)(error)),
        }
        fs::rename(&next, &self.path).map_err(state_file_io_error("rename", &next))?;
        let folder = self.folder();
        let flushed = File::open(folder).and_then(|folder| folder.sync_all());
        flushed
            .or_else(ignore_unsupported)
            .map_err(state_file_io_error("flush", folder))
    }

    fn write_file(&self, path: &Path, text: &[u8]) -> Result<(), StateFileError> {
        self.create_folder()?;
        // What a killed program left behind; whatever else stands there is not followed.
        let _ = fs::remove_file(path);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = opened.map_err(state_file_io_error("create", path))?;
        let written = file.write_all(text).and_then(|()| file.sync_all());
        if written.is_err() {
            // It would only keep a full disk full.
            let _ = fs::remove_file(path);
        }
        written.map_err(state_file_io_error("write", path))
    }

    /// Moves a file that cannot be used out of the way; gives the line to tell.
    fn quarantine_file(&self, path: &Path, text: &[u8], error: &StateFormatError) -> String {
        let shown = path.display();
        if self.write_lock.lock().is_none() {
            return format!("the state file {shown} is not used: {error}");
        }
        let aside = match error {
            StateFormatError::Damaged(_) => {
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

    fn create_folder(&self) -> Result<(), StateFileError> {
        let folder = self.folder();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(state_file_io_error("create", folder))
    }

    fn folder(&self) -> &Path {
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    fn path_with_suffix(&self, end: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(end);
        name.into()
    }
}

fn nonblocking_flag() -> i32 {
    i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default()
}

/// Never waits for a writer of a pipe that stands where a file should.
fn read_regular_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking_flag())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// Some file systems cannot flush a folder, and need not.
fn ignore_unsupported(error: io::Error) -> io::Result<()> {
    let unsupported = [Errno::INVAL, Errno::NOTSUP, Errno::NOSYS].map(Errno::raw_os_error);
    if error
        .raw_os_error()
        .is_some_and(|code| unsupported.contains(&code))
    {
        Ok(())
    } else {
        Err(error)
    }
}

fn state_file_io_error(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StateFileError {
    let path = path.to_path_buf();
    move |error| StateFileError::Io {
        operation: what,
        path,
        error,
    }
}
