//! Reads small regular files. A pipe or a device cannot block the call, and the size is bounded.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::text::{UnitStyle, format_size};

/// Maximum size of a configuration file.
pub(super) const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Maximum size of a file that a configuration names, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 10;

/// The content of a file.
#[derive(Debug, Clone)]
pub(crate) struct FileContent {
    pub(crate) bytes: Vec<u8>,
    /// Whether every user of the machine may read the file.
    pub(super) world_readable: bool,
}

/// Reads a regular file of at most `limit` bytes. The error is a lowercase fragment: why it cannot be read.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<FileContent, String> {
    read_regular_file(path, limit).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "reading it is not permitted".into(),
        // Without the path, which the caller names as the user wrote it.
        _ => error.to_string(),
    })
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read_regular_file(path: &Path, limit: u64) -> io::Result<FileContent> {
    // Without this flag, opening a pipe waits for a writer.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(nonblocking).open(path)?;
    // Of the open file, not of the path: the path may name another file by now.
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !kind.is_file() {
        let is_pipe = kind.is_fifo();
        let name = if is_pipe {
            "named pipe"
        } else {
            "device or socket"
        };
        let message = format!("it is a {name}, not a regular file");
        return Err(io::Error::other(message));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(limit) as usize);
    // The length in the metadata is 0 below /proc, and a file may grow while it is read.
    let too_large =
        metadata.len() > limit || file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit;
    if too_large {
        let limit = format_size(limit, UnitStyle::Message);
        return Err(io::Error::other(format!("it is larger than {limit}")));
    }
    Ok(FileContent {
        bytes,
        world_readable: metadata.mode() & 0o004 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_error(path: &Path) -> String {
        read_file(path, 16).unwrap_err()
    }

    #[test]
    fn irregular_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        assert_eq!(read_file(&file, 16).unwrap().bytes.len(), 16);
        std::fs::write(&file, "0123456789abcdefg").unwrap();
        assert_eq!(read_error(&file), "it is larger than 16 bytes");
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
