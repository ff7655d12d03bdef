//! Plays a script on one HTTP/2 connection: reads requests frame by frame, and sends the frames of
//! the script.

use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ProviderState;
use super::script::{Http2Frame, ProviderScript, Repeat, ScriptStep};
use super::script_player::{TcpBacked, close_gracefully, send_counted, wait_for_disconnect};

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Plays `script` for each request until it ends or the client disconnects.
pub(super) async fn play_script(
    mut stream: impl TcpBacked,
    script: &ProviderScript,
    state: &ProviderState,
) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    stream.read_exact(&mut preface).await?;
    stream
        .write_all(&Http2Frame::settings(0).to_bytes(0))
        .await?;
    stream.flush().await?;
    loop {
        let Some(request) = read_request(&mut stream, state).await? else {
            return Ok(());
        };
        let mut restarts = false;
        for step in &script.steps {
            match step {
                ScriptStep::SendFrame(frame, Repeat::Once) => {
                    send_counted(&mut stream, &frame.to_bytes(request), state).await?;
                }
                ScriptStep::SendFrame(frame, Repeat::Forever) => {
                    let frames = frame.to_bytes(request).repeat(100);
                    // 10,000 frames a second: enough for a flood, and the other providers of the test get their turn.
                    loop {
                        send_counted(&mut stream, &frames, state).await?;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
                ScriptStep::Send(bytes) => send_counted(&mut stream, bytes, state).await?,
                ScriptStep::Sleep(pause) => tokio::time::sleep(*pause).await,
                ScriptStep::WaitForDisconnect => return wait_for_disconnect(&mut stream).await,
                ScriptStep::Restart => restarts = true,
                ScriptStep::Close => return close_gracefully(&mut stream).await,
                ScriptStep::CloseAbruptly => return close_gracefully(stream.tcp_stream()).await,
                ScriptStep::Reset => {
                    return SockRef::from(&*stream.tcp_stream()).set_linger(Some(Duration::ZERO));
                }
                other => panic!("not a step for HTTP/2: {other:?}"),
            }
        }
        if !restarts {
            return close_gracefully(&mut stream).await;
        }
    }
}

/// Reads to the next request and returns its stream. `None` if the client disconnects first.
async fn read_request(
    stream: &mut impl TcpBacked,
    state: &ProviderState,
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
                state.requests.fetch_add(1, SeqCst);
                state.request_heads.lock().unwrap().push(text);
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
