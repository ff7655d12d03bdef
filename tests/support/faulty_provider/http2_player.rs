//! Plays a script on one HTTP/2 connection: reads requests frame by frame, sends frames as they are written.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FaultCounters;
use super::fault_script::{FaultScript, FaultStep, Http2Frame, Repeat};
use super::script_player::{TcpBacked, close_gracefully, send_counted, wait_for_disconnect};

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Plays `script` for each request until it ends or the client goes.
pub async fn play_script(
    mut stream: impl TcpBacked,
    script: &FaultScript,
    seen: &FaultCounters,
) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    stream.read_exact(&mut preface).await?;
    stream
        .write_all(&Http2Frame::settings(0).to_bytes(0))
        .await?;
    stream.flush().await?;
    loop {
        let Some(request) = read_request(&mut stream, seen).await? else {
            return Ok(());
        };
        let mut again = false;
        for step in &script.steps {
            match step {
                FaultStep::SendFrame(frame, Repeat::Once) => {
                    send_counted(&mut stream, &frame.to_bytes(request), seen).await?;
                }
                FaultStep::SendFrame(frame, Repeat::Forever) => {
                    let frames = frame.to_bytes(request).repeat(100);
                    // 100,000 frames a second: enough for a flood, and the other providers of the test get their turn.
                    loop {
                        send_counted(&mut stream, &frames, seen).await?;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                FaultStep::Send(bytes) => send_counted(&mut stream, bytes, seen).await?,
                FaultStep::Sleep(pause) => tokio::time::sleep(*pause).await,
                FaultStep::WaitForDisconnect => return wait_for_disconnect(&mut stream).await,
                FaultStep::Restart => again = true,
                FaultStep::Close => return close_gracefully(&mut stream).await,
                FaultStep::CloseAbruptly => {
                    stream.tcp_stream().shutdown().await?;
                    return wait_for_disconnect(stream.tcp_stream()).await;
                }
                FaultStep::Reset => {
                    return SockRef::from(&*stream.tcp_stream()).set_linger(Some(Duration::ZERO));
                }
                other => panic!("no step for HTTP/2: {other:?}"),
            }
        }
        if !again {
            return close_gracefully(&mut stream).await;
        }
    }
}

/// The stream of the next request; `None` if the client went.
async fn read_request(
    stream: &mut impl TcpBacked,
    seen: &FaultCounters,
) -> io::Result<Option<u32>> {
    loop {
        let mut head = [0; 9];
        match stream.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let mut payload = vec![0; number(&head[..3]) as usize];
        stream.read_exact(&mut payload).await?;
        match (head[3], head[4]) {
            (HEADERS, _) => {
                let request = number(&head[5..]);
                let text = format!("HTTP/2 stream {request}");
                seen.request_heads.lock().unwrap().push(text);
                return Ok(Some(request));
            }
            (SETTINGS, 0) => {
                stream
                    .write_all(&Http2Frame::settings(ACK).to_bytes(0))
                    .await?;
                stream.flush().await?;
            }
            _ => {}
        }
    }
}
