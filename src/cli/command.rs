//! What every command shares: its error with the exit code, the log, a small runtime.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::terminal::supports_colour;
use crate::domain::{AuthDefinition, Redactor};
use crate::process::Clock;
use crate::telemetry;
use crate::telemetry::LogSettings;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum CommandError {
    /// Bad usage or configuration, as the complete message; exit code 2.
    Usage(String),
    /// An error at run time; exit code 1.
    Runtime(anyhow::Error),
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl CommandError {
    /// Prints the error to standard error and returns its exit code.
    pub(super) fn report_exit_code(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Runtime(error) => (format!("error: {error:#}"), 1),
        };
        // A closed standard error leaves the exit code as the only report.
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
        ExitCode::from(code)
    }
}

/// Returns 0 for a success, 1 for a failure.
pub(super) fn exit_code(success: bool) -> ExitCode {
    ExitCode::from(u8::from(!success))
}

/// Returns an environment variable; one that is not UTF-8 counts as unset.
pub(super) fn read_env_var(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Installs the log and returns its redactor, which has no secrets yet. The log is set by `RESUMEN_LOG` and `RESUMEN_LOG_FORMAT`. `default_filter` replaces the default filter, `info`.
pub(super) fn init_logging(
    clock: Clock,
    default_filter: Option<&str>,
) -> Result<Redactor, CommandError> {
    let filter = read_env_var("RESUMEN_LOG").filter(|text| !text.is_empty());
    let format = read_env_var("RESUMEN_LOG_FORMAT");
    let mut settings = LogSettings::parse(filter.as_deref().or(default_filter), format.as_deref())
        .map_err(|error| CommandError::Usage(format!("error: {error}")))?;
    settings.colour = supports_colour(&io::stderr());
    let redactor = Redactor::default();
    telemetry::install(&settings, clock, redactor.clone());
    Ok(redactor)
}

/// Returns a single-threaded runtime for a command without a service.
pub(super) fn build_small_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// Waits for the logins in progress if one of `auths` has a `token_file`: a login that is interrupted after the server has
/// replaced the refresh token loses the only valid one. Ends after twice the longest timeout of those: a refresh and a login.
pub(super) async fn finish_logins(logins: &TaskTracker, auths: &[Arc<AuthDefinition>]) {
    let with_file = auths.iter().filter(|auth| auth.token_file.is_some());
    if let Some(longest) = with_file.map(|auth| auth.timeout).max() {
        logins.close();
        let _ = timeout(longest.saturating_mul(2), logins.wait()).await;
    }
}
