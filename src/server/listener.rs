//! The listening socket.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait in the kernel until they are accepted; it cuts this to its own limit.
const BACKLOG: i32 = 4096;

/// A bound socket that already listens, so that a port in use is noticed before anything else starts.
#[derive(Debug)]
pub struct HttpListener(TcpListener);

impl HttpListener {
    /// Binds `address` and listens. Port 0 picks a free one. `side_by_side` (`SO_REUSEPORT`) lets a second program take
    /// a part of the connections of the same port, so it is only for those who ask for it.
    pub fn bind(address: SocketAddr, side_by_side: bool) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for connections of the old process to time out; on Linux this allows no second
        // listener.
        socket.set_reuse_address(true)?;
        if side_by_side {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::from_std(socket.into())
    }

    /// Takes over a socket that listens already, as handed over by a service manager.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn into_inner(self) -> TcpListener {
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
        let second = HttpListener::bind(address, false).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let beside = HttpListener::bind(address, true).unwrap_err();
        assert_eq!(beside.kind(), io::ErrorKind::AddrInUse);
    }
}
