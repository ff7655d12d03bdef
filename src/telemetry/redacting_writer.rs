//! Writers that redact secrets, and escape what could split a line or control a terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::domain::Redactor;

/// Appends a character to a line.
pub(super) type PushCharFn = fn(char, &mut String);

/// Appends a character of a text line.
pub(super) fn push_text(c: char, line: &mut String) {
    if c.is_control() {
        line.extend(c.escape_debug());
    } else {
        line.push(c);
    }
}

/// Appends a character of a text line with colours: the format escapes the character that begins them in values.
pub(super) fn push_coloured(c: char, line: &mut String) {
    if c == '\u{1b}' {
        line.push(c);
    } else {
        push_text(c, line);
    }
}

/// Appends a character of a JSON line. JSON lets DEL and the C1 controls stand as they are, which some terminals obey.
pub(super) fn push_json(c: char, line: &mut String) {
    if c.is_control() {
        // Writing to a `String` cannot fail.
        let _ = write!(line, "\\u{:04x}", u32::from(c));
    } else {
        line.push(c);
    }
}

/// Makes redacting writers around those of `inner`.
pub(super) struct RedactingMakeWriter<M> {
    pub(super) redactor: Redactor,
    /// Appends a character of the line, escaped if it must be.
    pub(super) push: PushCharFn,
    pub(super) inner: M,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for RedactingMakeWriter<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        RedactingWriter {
            redactor: self.redactor.clone(),
            push: self.push,
            inner: self.inner.make_writer(),
        }
    }
}

/// Replaces secrets by `***` in each written line, and escapes characters. The subscriber writes an
/// event in one call, so no secret is split between two calls.
pub(super) struct RedactingWriter<W> {
    redactor: Redactor,
    push: PushCharFn,
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
        line.chars().for_each(|c| (self.push)(c, &mut escaped));
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
            push: push_text,
            inner: ClosedWriter,
        };
        assert!(writer.write_all(b"x\n").is_ok() && writer.flush().is_ok());
    }
}
