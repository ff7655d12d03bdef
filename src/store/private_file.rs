//! Steps that replace a file, readable by its owner only, at once or not at all: a new file is written and flushed, renamed,
//! and the rename is flushed. They block on disk I/O.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::io::Errno;

/// Returns the folder of a file.
pub(crate) fn parent_folder(path: &Path) -> &Path {
    let parent = path.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Creates a folder and those above it unless they exist.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Creates an empty file in place of what a killed process left.
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    // `create_new` then follows no symbolic link, and the file has no other mode.
    let _ = fs::remove_file(path);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Writes and flushes the content of a new file. It is removed after an error.
pub(crate) fn fill_file(mut file: File, path: &Path, content: &[u8]) -> io::Result<()> {
    // Before the rename: a power failure must not leave an empty file.
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // An incomplete file would only take up space on a full disk.
        let _ = fs::remove_file(path);
    }
    written
}

/// Flushes the renames in a folder: without it a power failure may undo them.
pub(crate) fn flush_folder(folder: &Path) -> io::Result<()> {
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.or_else(ignore_unsupported)
}

/// Some file systems cannot flush a folder.
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
