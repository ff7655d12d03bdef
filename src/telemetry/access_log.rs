//! The access log: lines that one thread writes to standard error, so that a slow reader of it does
//! not delay responses.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::domain::Redactor;

use super::log_output::LogOutput;
use super::redacting_writer::push_json;

/// Maximum number of lines that wait, at most 6 MiB. Further ones are dropped and counted.
const MAX_WAITING_LINES: usize = 2048;

/// Maximum bytes written at a time, but for one line.
const MAX_WRITE: usize = 64 * 1024;

/// The access log. Its thread ends when it is dropped.
#[derive(Debug)]
pub struct AccessLog {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the thread, which replaces the secrets of `redactor`.
    pub fn start(redactor: Redactor) -> io::Result<Self> {
        Self::start_with_output(redactor, LogOutput::WAITING)
    }

    fn start_with_output(
        redactor: Redactor,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, received) = sync_channel(MAX_WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&received, &redactor, &counter, output))?;
        Ok(Self { lines, dropped })
    }

    /// Writes a line, given without its line end, soon. Does not block.
    pub(crate) fn write_line(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn write_lines(
    lines: &Receiver<String>,
    redactor: &Redactor,
    dropped: &AtomicU64,
    mut output: impl Write,
) {
    let mut text = String::new();
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()) {
            for c in redactor.redact(&line).chars() {
                push_json(c, &mut text);
            }
            text.push('\n');
            if text.len() >= MAX_WRITE {
                break;
            }
        }
        // A closed output is ignored.
        let _ = output.write_all(text.as_bytes());
        text.clear();
        let dropped = dropped.swap(0, Relaxed);
        if dropped > 0 {
            tracing::warn!(lines = dropped, "access log cannot keep up, lines dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::domain::SecretSet;

    /// Sends what is written through a channel; waits for a permission before each write.
    struct HeldOutput(std::sync::mpsc::Sender<Vec<u8>>, Receiver<()>);

    impl Write for HeldOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.recv().map_err(io::Error::other)?;
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_redacted_and_bounded() {
        let ((written, output), (permit, permits)) = (channel(), channel());
        let secrets = SecretSet::new(["hunter2hunter2".to_owned()]);
        let held = HeldOutput(written, permits);
        let log = AccessLog::start_with_output(Redactor::new(secrets), held).unwrap();
        log.write_line("a hunter2hunter2 \u{9b}".into());
        // The thread is held in its first write, of at most MAX_WRITE bytes, while the queue fills.
        for _ in 0..3 * MAX_WAITING_LINES {
            log.write_line("b".repeat(1000));
        }
        let dropped = log.dropped.load(Relaxed) as usize;
        assert!(dropped >= MAX_WAITING_LINES, "{dropped}");
        permit.send(()).unwrap();
        assert!(output.recv().unwrap().starts_with(b"a *** \\u009b\n"));
        drop((log, permit));
    }
}
