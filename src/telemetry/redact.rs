//! The last door of every log line: what is secret leaves as `***`.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::RwLock;
use tracing_subscriber::fmt::MakeWriter;

use crate::domain::{Redactor, SecretSet};

/// The secrets that no log line shows. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LogRedactor(Arc<RwLock<Redactor>>);

impl LogRedactor {
    /// Takes the secrets of a new configuration; those of the one before stay masked.
    pub fn replace_secrets(&self, secrets: SecretSet) {
        self.0.write().replace_secrets(secrets);
    }

    /// A writer that masks what goes through it to `inner`.
    pub(crate) fn wrap_writer<M>(&self, inner: M) -> RedactingMakeWriter<M> {
        RedactingMakeWriter {
            redactor: self.clone(),
            inner,
        }
    }

    fn redact_line(&self, line: &str) -> String {
        self.0.read().redact(line)
    }
}

/// Makes masking writers over those of `inner`.
pub(crate) struct RedactingMakeWriter<M> {
    redactor: LogRedactor,
    inner: M,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for RedactingMakeWriter<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        RedactingWriter {
            redactor: self.redactor.clone(),
            inner: self.inner.make_writer(),
        }
    }
}

/// Writes whole lines; an event arrives here as one.
pub(crate) struct RedactingWriter<W> {
    redactor: LogRedactor,
    inner: W,
}

impl<W: Write> Write for RedactingWriter<W> {
    /// Never fails: the subscriber would tell about it on standard error, which is what just failed, and panic.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = self.redactor.redact_line(&String::from_utf8_lossy(bytes));
        let _ = self.inner.write_all(line.as_bytes());
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
    fn previous_secrets_stay_redacted() {
        let mask = LogRedactor::default();
        mask.replace_secrets(SecretSet::new(["old-secret".into()]));
        mask.replace_secrets(SecretSet::new(["new-secret".into()]));
        assert_eq!(mask.redact_line("old-secret new-secret"), "*** ***");
    }

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
        let mut line = RedactingWriter {
            redactor: LogRedactor::default(),
            inner: ClosedWriter,
        };
        assert!(line.write_all(b"x\n").is_ok() && line.flush().is_ok());
    }
}
