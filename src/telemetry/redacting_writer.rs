//! Writers that redact secrets, and escape what could split a line or control a terminal.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::domain::Redactor;

/// Makes redacting writers around those of `inner`.
pub(super) struct RedactingMakeWriter<M> {
    pub(super) redactor: Redactor,
    /// Whether a character within the line is escaped.
    pub(super) is_escaped: fn(char) -> bool,
    pub(super) inner: M,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for RedactingMakeWriter<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        RedactingWriter {
            redactor: self.redactor.clone(),
            is_escaped: self.is_escaped,
            inner: self.inner.make_writer(),
        }
    }
}

/// Replaces secrets by `***` in each written line, and escapes characters. The subscriber writes an
/// event in one call, so no secret is split between two calls.
pub(super) struct RedactingWriter<W> {
    redactor: Redactor,
    is_escaped: fn(char) -> bool,
    inner: W,
}

impl<W: Write> Write for RedactingWriter<W> {
    /// Always succeeds: on an error the subscriber would print to standard error, which is the
    /// stream that failed, and panic.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        // Redaction first: an escaped secret is not found.
        let line = self
            .redactor
            .redact(text.strip_suffix('\n').unwrap_or(&text));
        let mut escaped = String::with_capacity(line.len() + 1);
        for c in line.chars() {
            if (self.is_escaped)(c) {
                escaped.extend(c.escape_debug());
            } else {
                escaped.push(c);
            }
        }
        escaped.push('\n');
        let _ = self.inner.write_all(escaped.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.inner.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_stderr_is_ignored() {
        struct ClosedWriter;
        impl Write for ClosedWriter {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut writer = RedactingWriter {
            redactor: Redactor::default(),
            is_escaped: char::is_control,
            inner: ClosedWriter,
        };
        assert!(writer.write_all(b"x\n").is_ok() && writer.flush().is_ok());
    }
}
