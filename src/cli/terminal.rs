//! What a command needs of the process: its terminal, its environment, its log, a runtime, and a way to fail.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use crate::domain::Redactor;
use crate::process::Clock;
use crate::telemetry;
use crate::telemetry::LogSettings;

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// Bad usage or configuration, told in full; exit code 2.
    Usage(String),
    /// Something at run time; exit code 1.
    Runtime(anyhow::Error),
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl CommandError {
    /// Tells it on standard error, and gives its exit code.
    pub(crate) fn report_exit_code(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Runtime(error) => (format!("error: {error:#}"), 1),
        };
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
        ExitCode::from(code)
    }
}

/// One variable of the environment; one that is not UTF-8 is as good as unset.
pub(crate) fn read_env_var(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Whether to paint what goes to this stream.
pub(crate) fn supports_colour(stream: &impl IsTerminal) -> bool {
    let forbidden = read_env_var("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !forbidden && read_env_var("TERM").as_deref() != Some("dumb")
}

/// Starts the log. `quietly` is the filter of a command whose output tells everything by itself.
pub(crate) fn init_logging(clock: Clock, quietly: Option<&str>) -> Result<Redactor, CommandError> {
    let filter = read_env_var("RESUMEN_LOG").filter(|text| !text.is_empty());
    let format = read_env_var("RESUMEN_LOG_FORMAT");
    let settings = LogSettings::parse(filter.as_deref().or(quietly), format.as_deref());
    let mut settings = settings.map_err(|error| CommandError::Usage(format!("error: {error}")))?;
    settings.colour = supports_colour(&io::stderr());
    let redactor = Redactor::default();
    telemetry::install(&settings, clock, redactor.clone());
    Ok(redactor)
}

/// A runtime for commands that have little to do.
pub(crate) fn build_small_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// Prints for whoever asked; a reader that has gone (`| head`) is no failure.
pub(crate) fn print_stdout(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to standard output")
        }
        _ => Ok(()),
    }
}

/// The columns of a terminal; none if it is no terminal, or does not say.
pub(crate) fn terminal_width(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
