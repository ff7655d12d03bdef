//! Finds and reads the configuration file of a command.

use std::io;
use std::path::PathBuf;

use tracing::{error, warn};

use super::arguments::ConfigArguments;
use super::command::{CommandError, read_env_var};
use super::terminal::supports_colour;
use crate::config::{self, Config, ConfigError, ConfigProblem, ListenAddress, Severity};

/// The configuration file and the option that overrides one of its keys.
#[derive(Debug, Clone)]
pub(super) struct ConfigLocation {
    /// Path of the file.
    pub(super) path: PathBuf,
    /// Overrides `server.listen`.
    pub(super) listen: Option<ListenAddress>,
}

impl ConfigLocation {
    /// Returns the file of `--config`, or the first default location with a file.
    pub(super) fn find(arguments: &ConfigArguments, listen: Option<ListenAddress>) -> Self {
        let path = config::find_path(arguments.path().as_deref(), &read_env_var);
        Self { path, listen }
    }

    /// Reads and validates the file.
    pub(super) fn read_config(&self) -> Result<Config, ConfigError> {
        let mut config = config::load(&self.path, &read_env_var)?;
        // At every read, so that a reload does not see a change of the address.
        if let Some(listen) = &self.listen {
            config.server.listen = listen.clone();
        }
        Ok(config)
    }

    /// Reads the file like [`Self::read_config`]. The error lists every problem, rendered for standard error.
    pub(super) fn require_config(&self) -> Result<Config, CommandError> {
        let colour = supports_colour(&io::stderr());
        let config = self.read_config();
        config.map_err(|error| CommandError::Usage(error.render_text(colour)))
    }
}

/// Logs each problem of a configuration at its severity.
pub(super) fn log_problems(problems: &[ConfigProblem]) {
    for problem in problems {
        match problem.severity {
            Severity::Error => error!("{problem}"),
            Severity::Warning => warn!("{problem}"),
        }
    }
}
