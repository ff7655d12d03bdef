//! The listening socket.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Maximum number of connections in the kernel's accept queue. The kernel lowers it to its own
/// limit (`somaxconn`).
const BACKLOG: i32 = 4096;

/// A bound, listening socket. It exists before any thread starts, so that a port in use is the
/// first error.
#[derive(Debug)]
pub struct HttpListener(TcpListener);

impl HttpListener {
    /// Binds `address` and listens; port 0 selects a free port. With `reuse_port` (`SO_REUSEPORT`),
    /// a second process may listen on the same port and takes a share of the connections.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for the old process's connections in TIME_WAIT. On Linux this
        // permits no second listener.
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::from_std(socket.into())
    }

    /// Wraps a socket that listens already, for example one passed by a service manager.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The bound address.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(super) fn into_inner(self) -> TcpListener {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_is_an_error() {
        let first = HttpListener::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = first.local_address().unwrap();
        for reuse_port in [false, true] {
            let error = HttpListener::bind(address, reuse_port).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
