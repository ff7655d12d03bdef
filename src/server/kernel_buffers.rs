//! The kernel's buffers of connections. They count in the memory of a container; left alone, those of a slow
//! client would grow to megabytes.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::SockRef;

/// Sizes in bytes. The kernel doubles them for its own bookkeeping. The send buffer must have room for more
/// than one segment, of 64 KiB on the loopback: a client that received just one delays its acknowledgement by
/// 40 ms, and the rest of the response waits for it.
const SEND_BUFFER: usize = 48 << 10;
const RECEIVE_BUFFER: usize = 16 << 10;

/// The same of a Unix socket. Smaller, because a client that keeps its end open keeps the bytes after the connection is
/// closed: there is no reset that drops them.
const UNIX_SEND_BUFFER: usize = 8 << 10;

/// What the buffers of one connection take at most, in bytes.
pub(super) const KERNEL_BUFFER_BYTES: usize = 2 * (SEND_BUFFER + RECEIVE_BUFFER);

/// How long the kernel keeps the bytes of a closed connection whose client does not read them.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits the buffers of the connections of `listener`, which inherit its options.
pub(super) fn limit_inherited(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT))
}

/// Limits the buffer of a Unix socket, which inherits nothing. Its bytes count for the sender only.
pub(super) fn limit_unix(stream: &UnixStream) -> io::Result<()> {
    SockRef::from(stream).set_send_buffer_size(UNIX_SEND_BUFFER)
}
