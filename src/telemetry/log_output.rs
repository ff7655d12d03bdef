//! Standard error, as both logs write to it. When nothing reads it, such as the other end of a full pipe, the
//! threads that log go on.

use std::io::{self, Write};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Bytes that a pipe accepts without waiting once it is ready (`PIPE_BUF` of Linux).
const READY_BYTES: usize = 4096;

/// Held from the check that the output is ready until the write: another thread could take the room between them.
static WRITING: Mutex<()> = Mutex::new(());

/// Standard error, written in parts of whole lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogOutput {
    /// How long a part waits for the reader, then it is an error; `None`: without limit.
    max_wait: Option<Duration>,
}

impl LogOutput {
    /// An output that waits for its reader, for a thread that does nothing else.
    pub(super) const WAITING: Self = Self { max_wait: None };

    /// An output that waits only for a reader that is about to read.
    pub(super) const PROMPT: Self = Self {
        max_wait: Some(Duration::from_millis(5)),
    };
}

impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = first_lines(bytes);
        loop {
            if !is_ready(self.max_wait)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let _writing = WRITING.lock();
            if is_ready(Some(Duration::ZERO))? {
                return Ok(rustix::io::write(io::stderr(), part)?);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The whole lines that a ready pipe accepts, or the beginning of a longer one.
fn first_lines(bytes: &[u8]) -> &[u8] {
    let part = &bytes[..bytes.len().min(READY_BYTES)];
    let end = part.iter().rposition(|byte| *byte == b'\n');
    end.map_or(part, |end| &part[..=end])
}

/// Whether standard error accepts bytes within `max_wait`. An output that is closed is ready: the write tells.
fn is_ready(max_wait: Option<Duration>) -> io::Result<bool> {
    let limit = max_wait.and_then(|wait| Timespec::try_from(wait).ok());
    let stderr = io::stderr();
    let mut outputs = [PollFd::new(&stderr, PollFlags::OUT)];
    match poll(&mut outputs, limit.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        // A signal. The caller asks again.
        Err(Errno::INTR) => Ok(max_wait.is_none()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_with_a_line() {
        let lines = [&[b'x'; 3000][..], b"\n"].concat();
        assert_eq!(first_lines(&lines.repeat(3)).len(), 3001);
        assert_eq!(first_lines(b"a\nb\n"), b"a\nb\n");
        assert_eq!(first_lines(&[b'x'; 9000]).len(), READY_BYTES);
    }
}
