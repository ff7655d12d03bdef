//! Reads small files that somebody else names: never hangs on a pipe, never reads more than the limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What was read.
#[derive(Debug, Clone)]
pub(crate) struct FileContent {
    pub(super) bytes: Vec<u8>,
    /// Whether every user of the machine may read it.
    pub(super) world_readable: bool,
}

/// Why there is nothing to read, as a lowercase fragment.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("it is a directory")]
    Directory,
    #[error("it is a {0}, not a regular file")]
    NotRegularFile(&'static str),
    #[error("it is larger than {}", super::units::format_size(*.0))]
    TooLarge(u64),
    #[error("reading it is not permitted")]
    PermissionDenied,
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::Other(error),
        }
    }
}

/// The content of a regular file of at most `limit` bytes.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<FileContent, FileError> {
    let file = open_nonblocking(path)?;
    let about = file.metadata()?;
    let kind = about.file_type();
    if kind.is_dir() {
        return Err(FileError::Directory);
    }
    if !kind.is_file() {
        return Err(FileError::NotRegularFile(if kind.is_fifo() {
            "named pipe"
        } else {
            "device or socket"
        }));
    }
    if about.len() > limit {
        return Err(FileError::TooLarge(limit));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    // Files below /proc have no length, and any file may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge(limit));
    }
    Ok(FileContent {
        bytes,
        world_readable: about.mode() & 0o004 != 0,
    })
}

/// Opens without waiting for a writer at the other end of a pipe.
fn open_nonblocking(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_error(path: &Path) -> String {
        read_file(path, 16).unwrap_err().to_string()
    }

    #[test]
    fn irregular_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        assert_eq!(read_file(&file, 16).unwrap().bytes.len(), 16);
        std::fs::write(&file, "0123456789abcdefg").unwrap();
        assert_eq!(read_error(&file), "it is larger than 16B");
        assert_eq!(read_error(folder.path()), "it is a directory");
        assert_eq!(
            read_error(&folder.path().join("g")),
            "there is no such file"
        );
        assert_eq!(read_error(&file.join("g")), "there is no such file");
        assert_eq!(
            read_error(Path::new("/dev/zero")),
            "it is a device or socket, not a regular file"
        );
    }

    #[test]
    fn pipe_without_writer_fails_fast() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(read_error(&pipe), "it is a named pipe, not a regular file");
    }
}
