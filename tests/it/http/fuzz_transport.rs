//! How the fuzz test connects: plain or by TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use crate::support::tls_client::connect_tls;

/// Time limit of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How a client connects.
#[derive(Clone)]
pub enum FuzzTransport {
    Plain,
    Tls(Arc<ClientConfig>),
}

impl FuzzTransport {
    /// Sends the pieces of `bytes` that end at `cuts` on a new connection, ends its direction, and reads
    /// until the server has ended the other one.
    pub fn exchange(
        &self,
        address: SocketAddr,
        bytes: &[u8],
        cuts: &[usize],
    ) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => {
                let mut stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
                send_pieces(&mut stream, bytes, cuts);
                // The server may have closed the connection.
                let _ = stream.shutdown(Shutdown::Write);
                read_rest(stream)
            }
            Self::Tls(config) => {
                let mut stream = connect_tls(address, config);
                stream.sock.set_read_timeout(Some(READ_TIMEOUT))?;
                stream.flush()?;
                send_pieces(&mut stream, bytes, cuts);
                stream.conn.send_close_notify();
                // As above.
                let _ = stream.flush();
                read_rest(stream)
            }
        }
    }
}

fn send_pieces(stream: &mut impl Write, bytes: &[u8], cuts: &[usize]) {
    let mut start = 0;
    for end in cuts {
        // The server may have closed the connection.
        let _ = stream.write_all(&bytes[start..*end]);
        start = *end;
    }
}

fn read_rest(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut received = Vec::with_capacity(16 * 1024);
    match stream.read_to_end(&mut received) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
        _ => Ok(received),
    }
}
