//! Plays a script on one connection.

use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::ProviderState;
use super::echo::build_echo_response;
use super::script::{ProviderScript, ScriptStep};

/// A stream with the TCP connection below it.
pub trait TcpBacked: AsyncRead + AsyncWrite + Unpin {
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

/// Plays `script` until it ends or the client disconnects.
pub(super) async fn play_script(
    mut stream: impl TcpBacked,
    script: &ProviderScript,
    state: &ProviderState,
) -> io::Result<()> {
    let mut request = String::new();
    loop {
        if !script.sends_before_request {
            match read_request(&mut stream, state).await? {
                Some(next) => request = next,
                None => return Ok(()),
            }
        }
        let mut restarts = false;
        for step in &script.steps {
            match step {
                ScriptStep::Respond => {
                    let response = state.response.lock().unwrap().clone();
                    tokio::time::sleep(response.delay).await;
                    send_counted(&mut stream, &response.to_bytes(), state).await?;
                }
                ScriptStep::Send(bytes) => send_counted(&mut stream, bytes, state).await?,
                ScriptStep::SendPlaintext(bytes) => {
                    send_counted(stream.tcp_stream(), bytes, state).await?;
                }
                ScriptStep::SendSlowly(pause, bytes) => {
                    for byte in bytes {
                        send_counted(&mut stream, &[*byte], state).await?;
                        tokio::time::sleep(*pause).await;
                    }
                }
                ScriptStep::SendForever(bytes) => loop {
                    send_counted(&mut stream, bytes, state).await?;
                },
                ScriptStep::Echo => {
                    send_counted(&mut stream, &build_echo_response(&request), state).await?;
                }
                ScriptStep::Tunnel(target) => {
                    let head = b"HTTP/1.1 200 Connection established\r\n\r\n";
                    send_counted(&mut stream, head, state).await?;
                    let mut target = TcpStream::connect(target).await?;
                    return copy_bidirectional(&mut stream, &mut target).await.map(drop);
                }
                ScriptStep::SendFrame(..) => panic!("a frame requires an HTTP/2 connection"),
                ScriptStep::Sleep(pause) => tokio::time::sleep(*pause).await,
                ScriptStep::WaitForDisconnect => return wait_for_disconnect(&mut stream).await,
                ScriptStep::AwaitRequest => match read_request(&mut stream, state).await? {
                    Some(next) => request = next,
                    None => return Ok(()),
                },
                ScriptStep::Restart => restarts = true,
                ScriptStep::Close => return close_gracefully(&mut stream).await,
                ScriptStep::CloseAbruptly => return close_gracefully(stream.tcp_stream()).await,
                ScriptStep::Reset => {
                    return SockRef::from(&*stream.tcp_stream()).set_linger(Some(Duration::ZERO));
                }
            }
        }
        if !restarts {
            return close_gracefully(&mut stream).await;
        }
    }
}

/// Reads one request with its body. `None` if the client disconnects first.
async fn read_request(
    stream: &mut impl TcpBacked,
    state: &ProviderState,
) -> io::Result<Option<String>> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = |line: &str| line.strip_prefix("content-length: ")?.parse().ok();
    let length: usize = lower.lines().find_map(length).unwrap_or(0);
    while read.len() < end + length {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
    state.requests.fetch_add(1, SeqCst);
    state.request_heads.lock().unwrap().push(head);
    let body = String::from_utf8_lossy(&read[end..]).into_owned();
    state.request_bodies.lock().unwrap().push(body);
    Ok(Some(String::from_utf8_lossy(&read).into_owned()))
}

pub(super) async fn send_counted(
    stream: &mut impl TcpBacked,
    mut bytes: &[u8],
    state: &ProviderState,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream.write(bytes).await?;
        state.sent_bytes.fetch_add(sent, SeqCst);
        bytes = &bytes[sent..];
    }
    stream.flush().await
}

/// Sends FIN and reads until the client closes: closing with unread bytes would send an RST.
pub(super) async fn close_gracefully(stream: &mut impl TcpBacked) -> io::Result<()> {
    stream.shutdown().await?;
    wait_for_disconnect(stream).await
}

pub(super) async fn wait_for_disconnect(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
