//! Where a command's configuration comes from: the arguments, the environment, the usual places.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing::{error, warn};

use super::arguments::Configuration;
use super::console::{self, Failed};
use crate::config::{self, Config, Report, Severity};

/// A file, and what wins over it. It can be read again and again.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The file.
    pub(super) path: PathBuf,
    /// Where to listen, whatever the file says.
    listen: Option<SocketAddr>,
}

impl Origin {
    /// The file that was named, or the one in a usual place.
    pub(super) fn find(arguments: &Configuration, listen: Option<SocketAddr>) -> Self {
        Self {
            path: config::find(arguments.path().as_deref(), &console::variable),
            listen,
        }
    }

    /// This file, wherever it says to listen.
    #[cfg(test)]
    pub(super) fn at(path: &std::path::Path) -> Self {
        Self {
            path: path.to_owned(),
            listen: None,
        }
    }

    /// Reads and checks the file as it is now.
    pub(super) fn read(&self) -> Result<Config, Report> {
        let mut config = config::load(&self.path, &console::variable)?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        Ok(config)
    }

    /// Reads it for a command that cannot do without; every problem is told where people look.
    pub(super) fn load(&self) -> Result<Config, Failed> {
        self.read()
            .map_err(|report| Failed::Usage(report.draw(console::colours(&std::io::stderr()))))
    }
}

/// One line of the log for each thing that is allowed but unwise.
pub(super) fn warn_of(config: &Config) {
    for problem in &config.warnings {
        warn!("{problem}");
    }
}

/// One line of the log for each problem of a file that was refused.
pub(super) fn log(report: &Report) {
    for problem in &report.problems {
        match problem.severity {
            Severity::Error => error!("{problem}"),
            Severity::Warning => warn!("{problem}"),
        }
    }
}
