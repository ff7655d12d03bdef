//! What a command needs of the process: its terminal, its environment, its log, a runtime, and a way to fail.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock;
use crate::telemetry::{self, Mask, Settings};

/// Why a command could not do its work.
#[derive(Debug)]
pub(super) enum Failed {
    /// Bad usage or configuration, told in full; exit code 2.
    Usage(String),
    /// Something at run time; exit code 1.
    Runtime(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl Failed {
    /// Tells it on standard error, and gives its exit code.
    pub(super) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Runtime(error) => (format!("error: {error:#}"), 1),
        };
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
        ExitCode::from(code)
    }
}

/// One variable of the environment; one that is not UTF-8 is as good as unset.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Whether to paint what goes to this stream.
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    let forbidden = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !forbidden && variable("TERM").as_deref() != Some("dumb")
}

/// Starts the log. `quietly` is the filter of a command whose output tells everything by itself.
pub(super) fn log(clock: Clock, quietly: Option<&str>) -> Result<Mask, Failed> {
    let filter = variable("RESUMEN_LOG").filter(|text| !text.is_empty());
    let format = variable("RESUMEN_LOG_FORMAT");
    let settings = Settings::parse(filter.as_deref().or(quietly), format.as_deref());
    let mut settings = settings.map_err(|error| Failed::Usage(format!("error: {error}")))?;
    settings.colour = colours(&io::stderr());
    Ok(telemetry::install(&settings, clock))
}

/// A runtime for commands that have little to do.
pub(super) fn small_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// Prints for whoever asked; a reader that has gone (`| head`) is no failure.
pub(super) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to standard output")
        }
        _ => Ok(()),
    }
}

/// The columns of a terminal; none if it is no terminal, or does not say.
pub(super) fn width(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
