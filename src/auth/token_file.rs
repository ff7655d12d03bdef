//! The file with a refresh token: one line, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Returns the token in the file; `None` if the file does not exist or is empty. Blocks.
pub(super) fn read_token(path: &Path) -> io::Result<Option<Arc<str>>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(io::Error::other("it is no file with a token"));
    }
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    Ok((!token.is_empty()).then(|| token.into()))
}

/// Replaces the token in the file, at once or not at all. Blocks.
pub(super) fn write_token(path: &Path, token: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let mut next = path.as_os_str().to_owned();
    next.push(".tmp");
    // A file of an interrupted write may have another mode.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    writeln!(file, "{token}")?;
    // Before the rename: a power failure must not leave an empty file.
    file.sync_all()?;
    fs::rename(&next, path)
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
        assert!(read_token(folder.path()).is_err());
        assert!(write_token(Path::new("/proc/none/token"), "x").is_err());
    }
}
