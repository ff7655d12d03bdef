//! Listening sockets: TCP and Unix.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::ListenAddress;

use super::client_stream::AcceptedStream;
use super::kernel_buffers;
use super::unix_socket::{self, SocketFile};

/// Maximum number of connections in the kernel's accept queue. The kernel lowers it to its own
/// limit (`somaxconn`).
const BACKLOG: i32 = 4096;

/// A bound, listening socket. It exists before any thread starts, so that a port in use is the
/// first error.
#[derive(Debug)]
pub struct HttpListener {
    socket: ListeningSocket,
    address: ListenAddress,
    socket_file: Option<SocketFile>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket that is registered with a runtime.
pub(super) enum AsyncListener {
    Tcp(AsyncFd<TcpListener>),
    Unix(AsyncFd<UnixListener>),
}

impl HttpListener {
    /// Binds `address` and listens; port 0 selects a free port. With `reuse_port` (`SO_REUSEPORT`),
    /// a second process may listen on the same port and takes a share of the connections; a Unix
    /// socket cannot be shared.
    pub fn bind(address: &ListenAddress, reuse_port: bool) -> io::Result<Self> {
        match address {
            ListenAddress::Ip(ip) => Self::from_std(bind_tcp(*ip, reuse_port)?.into()),
            ListenAddress::Unix(_) if reuse_port => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "processes cannot share a Unix socket",
            )),
            ListenAddress::Unix(path) => {
                let (listener, socket_file) = unix_socket::bind(path, BACKLOG)?;
                listener.set_nonblocking(true)?;
                Ok(Self {
                    socket: ListeningSocket::Unix(listener),
                    address: address.clone(),
                    socket_file: Some(socket_file),
                })
            }
        }
    }

    /// Wraps a socket that listens already, for example one passed by a service manager.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        kernel_buffers::limit_inherited(&listener)?;
        // Connections inherit it, too.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        Ok(Self {
            address: listener.local_addr()?.into(),
            socket: ListeningSocket::Tcp(listener),
            socket_file: None,
        })
    }

    /// The bound address, with the actual port.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Takes the file of a Unix socket, which is removed when the value is dropped.
    pub(super) fn take_socket_file(&mut self) -> Option<SocketFile> {
        self.socket_file.take()
    }

    /// Registers the socket with the current runtime.
    pub(super) fn register(self) -> io::Result<AsyncListener> {
        Ok(match self.socket {
            ListeningSocket::Tcp(listener) => AsyncListener::Tcp(register_socket(listener)?),
            ListeningSocket::Unix(listener) => AsyncListener::Unix(register_socket(listener)?),
        })
    }
}

impl AsyncListener {
    /// The next connection, registered with no runtime.
    pub(super) async fn accept(&self) -> io::Result<AcceptedStream> {
        let readable = Interest::READABLE;
        Ok(match self {
            Self::Tcp(tcp) => {
                AcceptedStream::Tcp(tcp.async_io(readable, accept_next).await?.into())
            }
            Self::Unix(unix) => {
                AcceptedStream::Unix(unix.async_io(readable, accept_next).await?.into())
            }
        })
    }

    /// The connections that the kernel has completed. Ends at the first error, which most often
    /// means that there are no more.
    pub(super) fn into_pending(self) -> impl Iterator<Item = AcceptedStream> {
        std::iter::from_fn(move || match &self {
            Self::Tcp(tcp) => Some(AcceptedStream::Tcp(accept_next(tcp.get_ref()).ok()?.into())),
            Self::Unix(unix) => Some(AcceptedStream::Unix(
                accept_next(unix.get_ref()).ok()?.into(),
            )),
        })
    }
}

/// Registers a socket that is its descriptor's only owner.
#[expect(
    deprecated,
    reason = "unsound only for a type that is not the owner; its successor is an unsafe function"
)]
fn register_socket<T: AsRawFd + Into<OwnedFd>>(socket: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(socket)
}

/// Accepts a connection that does not block, in one system call.
fn accept_next(listener: &impl AsFd) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(accept_with(listener, flags)?)
}

fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let all_addresses = address.is_ipv6() && address.ip().is_unspecified();
    let socket = match open_tcp_socket(address) {
        // The kernel has no IPv6, so IPv4 is every address.
        Err(_) if all_addresses => {
            let address = SocketAddr::from(([0, 0, 0, 0], address.port()));
            return bind_tcp(address, reuse_port);
        }
        opened => opened?,
    };
    if all_addresses {
        // The default depends on the system (`net.ipv6.bindv6only`).
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the old process's connections in TIME_WAIT. On Linux this
    // permits no second listener.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn open_tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn bind(address: &str) -> HttpListener {
        HttpListener::bind(&crate::config::parse_listen(address).unwrap(), false).unwrap()
    }

    #[test]
    fn port_in_use_is_an_error() {
        let first = bind("127.0.0.1:0");
        for reuse_port in [false, true] {
            let error = HttpListener::bind(first.address(), reuse_port).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn port_alone_means_every_address() {
        let port = bind(":0").address().ip().unwrap().port();
        // The listener is closed here, so the port is free again.
        let _listener = bind(&format!(":{port}"));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        if TcpListener::bind("[::1]:0").is_ok() {
            TcpStream::connect(("::1", port)).unwrap();
        }
    }
}
