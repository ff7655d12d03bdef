//! Plays a script on one connection.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Script, Seen, Step};

/// A stream with the TCP connection below it.
pub trait OverTcp: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection itself.
    fn tcp(&mut self) -> &mut TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&mut self) -> &mut TcpStream {
        self
    }
}

impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}

/// Plays `script` until it ends or the client goes.
pub async fn play(mut stream: impl OverTcp, script: &Script, seen: &Seen) -> io::Result<()> {
    loop {
        if !script.greets && !request(&mut stream, seen).await? {
            return Ok(());
        }
        let mut again = false;
        for step in &script.steps {
            match step {
                Step::Send(bytes) => send(&mut stream, bytes, seen).await?,
                Step::Bare(bytes) => send(stream.tcp(), bytes, seen).await?,
                Step::Drip(pause, bytes) => {
                    for byte in bytes {
                        send(&mut stream, &[*byte], seen).await?;
                        tokio::time::sleep(*pause).await;
                    }
                }
                Step::Flood(bytes) => loop {
                    send(&mut stream, bytes, seen).await?;
                },
                Step::Sleep(pause) => tokio::time::sleep(*pause).await,
                Step::Stall => return gone(&mut stream).await,
                Step::Await if !request(&mut stream, seen).await? => return Ok(()),
                Step::Await => {}
                Step::Again => again = true,
                Step::Close => return close(&mut stream).await,
                Step::Cut => {
                    stream.tcp().shutdown().await?;
                    return gone(stream.tcp()).await;
                }
                Step::Reset => {
                    return SockRef::from(&*stream.tcp()).set_linger(Some(Duration::ZERO));
                }
            }
        }
        if !again {
            return close(&mut stream).await;
        }
    }
}

/// Reads one request with its body; false if the client went instead of asking.
async fn request(stream: &mut impl OverTcp, seen: &Seen) -> io::Result<bool> {
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
    seen.heads.lock().unwrap().push(head);
    Ok(true)
}

async fn send(stream: &mut impl OverTcp, mut bytes: &[u8], seen: &Seen) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream.write(bytes).await?;
        seen.sent.fetch_add(sent as u64, Ordering::SeqCst);
        bytes = &bytes[sent..];
    }
    stream.flush().await
}

/// FIN, and then patience: closing with unread bytes would become an RST.
async fn close(stream: &mut impl OverTcp) -> io::Result<()> {
    stream.shutdown().await?;
    gone(stream).await
}

/// Waits until the client has closed its side.
async fn gone(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
