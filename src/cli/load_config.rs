//! Where a command's configuration comes from: the arguments, the environment, the usual places.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing::{error, warn};

use super::arguments::ConfigArguments;
use super::terminal;
use super::terminal::CommandError;
use crate::config;
use crate::config::{Config, ConfigError, Severity};

/// A file, and what wins over it. It can be read again and again.
#[derive(Debug, Clone)]
pub(crate) struct ConfigLocation {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where to listen, whatever the file says.
    listen: Option<SocketAddr>,
}

impl ConfigLocation {
    /// The file that was named, or the one in a usual place.
    pub(crate) fn find(arguments: &ConfigArguments, listen: Option<SocketAddr>) -> Self {
        Self {
            path: config::find_path(arguments.path().as_deref(), &terminal::read_env_var),
            listen,
        }
    }

    /// This file, wherever it says to listen.
    #[cfg(test)]
    pub(crate) fn from_path(path: &std::path::Path) -> Self {
        Self {
            path: path.to_owned(),
            listen: None,
        }
    }

    /// Reads and checks the file as it is now.
    pub(crate) fn read_config(&self) -> Result<Config, ConfigError> {
        let mut config = config::load(&self.path, &terminal::read_env_var)?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        Ok(config)
    }

    /// Reads it for a command that cannot do without; every problem is told where people look.
    pub(crate) fn require_config(&self) -> Result<Config, CommandError> {
        self.read_config().map_err(|report| {
            CommandError::Usage(report.render_text(terminal::supports_colour(&std::io::stderr())))
        })
    }
}

/// One line of the log for each thing that is allowed but unwise.
pub(crate) fn log_warnings(config: &Config) {
    for problem in &config.warnings {
        warn!("{problem}");
    }
}

/// One line of the log for each problem of a file that was refused.
pub(crate) fn log_problems(report: &ConfigError) {
    for problem in &report.problems {
        match problem.severity {
            Severity::Error => error!("{problem}"),
            Severity::Warning => warn!("{problem}"),
        }
    }
}
