//! Plays a script on one connection.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::FaultCounters;
use super::fault_script::{FaultScript, FaultStep};

/// A stream with the TCP connection below it.
pub trait TcpBacked: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection itself.
    fn tcp_stream(&mut self) -> &mut TcpStream;
}

impl TcpBacked for TcpStream {
    fn tcp_stream(&mut self) -> &mut TcpStream {
        self
    }
}

impl TcpBacked for TlsStream<TcpStream> {
    fn tcp_stream(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}

/// Plays `script` until it ends or the client goes.
pub async fn play_script(
    mut stream: impl TcpBacked,
    script: &FaultScript,
    seen: &FaultCounters,
) -> io::Result<()> {
    loop {
        if !script.sends_before_request && !read_request(&mut stream, seen).await? {
            return Ok(());
        }
        let mut again = false;
        for step in &script.steps {
            match step {
                FaultStep::Send(bytes) => send_counted(&mut stream, bytes, seen).await?,
                FaultStep::SendPlaintext(bytes) => {
                    send_counted(stream.tcp_stream(), bytes, seen).await?
                }
                FaultStep::SendSlowly(pause, bytes) => {
                    for byte in bytes {
                        send_counted(&mut stream, &[*byte], seen).await?;
                        tokio::time::sleep(*pause).await;
                    }
                }
                FaultStep::SendForever(bytes) => loop {
                    send_counted(&mut stream, bytes, seen).await?;
                },
                FaultStep::SendFrame(..) => panic!("a frame needs a connection of HTTP/2"),
                FaultStep::Sleep(pause) => tokio::time::sleep(*pause).await,
                FaultStep::WaitForDisconnect => return wait_for_disconnect(&mut stream).await,
                FaultStep::AwaitRequest if !read_request(&mut stream, seen).await? => return Ok(()),
                FaultStep::AwaitRequest => {}
                FaultStep::Restart => again = true,
                FaultStep::Close => return close_gracefully(&mut stream).await,
                FaultStep::CloseAbruptly => {
                    stream.tcp_stream().shutdown().await?;
                    return wait_for_disconnect(stream.tcp_stream()).await;
                }
                FaultStep::Reset => {
                    return SockRef::from(&*stream.tcp_stream()).set_linger(Some(Duration::ZERO));
                }
            }
        }
        if !again {
            return close_gracefully(&mut stream).await;
        }
    }
}

/// Reads one request with its body; false if the client went instead of asking.
async fn read_request(stream: &mut impl TcpBacked, seen: &FaultCounters) -> io::Result<bool> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(false);
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length.unwrap_or(0);
    while read.len() < end + length {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(false);
        }
    }
    seen.request_heads.lock().unwrap().push(head);
    Ok(true)
}

pub(super) async fn send_counted(
    stream: &mut impl TcpBacked,
    mut bytes: &[u8],
    seen: &FaultCounters,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream.write(bytes).await?;
        seen.sent_bytes.fetch_add(sent as u64, Ordering::SeqCst);
        bytes = &bytes[sent..];
    }
    stream.flush().await
}

/// FIN, and then patience: closing with unread bytes would become an RST.
pub(super) async fn close_gracefully(stream: &mut impl TcpBacked) -> io::Result<()> {
    stream.shutdown().await?;
    wait_for_disconnect(stream).await
}

/// Waits until the client has closed its side.
pub(super) async fn wait_for_disconnect(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
