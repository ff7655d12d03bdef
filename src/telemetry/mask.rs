//! The last door of every log line: what is secret leaves as `***`.

use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use tracing_subscriber::fmt::MakeWriter;

use crate::domain::{Secrets, Veil};

/// The secrets that no log line shows. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Mask(Arc<RwLock<Veil>>);

impl Mask {
    /// Takes the secrets of a new configuration; those of the one before stay masked.
    pub fn replace(&self, secrets: Secrets) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(secrets);
    }

    /// A writer that masks what goes through it to `inner`.
    pub(super) fn over<M>(&self, inner: M) -> Masked<M> {
        Masked {
            mask: self.clone(),
            inner,
        }
    }

    fn apply(&self, line: &str) -> String {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .mask(line)
    }
}

/// Makes masking writers over those of `inner`.
pub(super) struct Masked<M> {
    mask: Mask,
    inner: M,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for Masked<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line {
            mask: self.mask.clone(),
            to: self.inner.make_writer(),
        }
    }
}

/// Writes whole lines; an event arrives here as one.
pub(super) struct Line<W> {
    mask: Mask,
    to: W,
}

impl<W: Write> Write for Line<W> {
    /// Never fails: the subscriber would tell about it on standard error, which is what just failed, and panic.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = self.mask.apply(&String::from_utf8_lossy(bytes));
        let _ = self.to.write_all(line.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.to.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_the_configuration_before_stay_masked() {
        let mask = Mask::default();
        mask.replace(Secrets::new(["old-secret".into()]));
        mask.replace(Secrets::new(["new-secret".into()]));
        assert_eq!(mask.apply("old-secret new-secret"), "*** ***");
    }

    #[test]
    fn a_closed_standard_error_is_no_failure() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut line = Line {
            mask: Mask::default(),
            to: Closed,
        };
        assert!(line.write_all(b"x\n").is_ok() && line.flush().is_ok());
    }
}
