//! The file of a listening Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Mode of the file: its owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// The file of a listening socket. Removed when dropped, unless another process has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
}

/// Device, inode and the time of creation, which no `chmod` or `chown` changes: the inode of a removed
/// file is used again.
type FileIdentity = (u64, u64, i64, i64);

/// Listens at `path`. A socket without a listener, which a killed process leaves, is replaced; any
/// other file is an error.
pub(super) fn bind(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux creates the file with the mode of the socket less the umask, so that others cannot
    // connect before the mode is set below.
    fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: file_identity(path)?,
    };
    socket.listen(backlog)?;
    Ok((socket.into(), file))
}

fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let message = "the file exists and is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path) {
        // No process has the socket open.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Also an error such as a full queue or missing permission: something may listen there.
        Ok(_) | Err(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on the socket",
        )),
    }
}

fn file_identity(path: &Path) -> io::Result<FileIdentity> {
    let metadata = fs::symlink_metadata(path)?;
    let created = (metadata.mtime(), metadata.mtime_nsec());
    Ok((metadata.dev(), metadata.ino(), created.0, created.1))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if file_identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // On failure the next start finds a socket without a listener, and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let (listener, file) = bind(&path, 1).unwrap();
        let error = bind(&path, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "it is live");
        drop(listener);
        let (_listener, new_file) = bind(&path, 1).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(file);
        assert!(path.exists(), "the file of another listener is kept");
        drop(new_file);
        assert!(!path.exists());
    }

    #[test]
    fn other_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "data").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link, &folder.path().to_owned()] {
            let error = bind(path, 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
