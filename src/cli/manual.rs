//! Completions and the manual page, made from the parser itself, so that they cannot disagree with it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::Arguments;
use super::console::{Failed, print};

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), env!("CARGO_PKG_NAME"), &mut script);
    print(script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, in roff.
pub(super) fn page() -> Result<ExitCode, Failed> {
    let mut page = Vec::new();
    Man::new(Arguments::command()).render(&mut page).context("failed to render the manual page")?;
    print(page)?;
    Ok(ExitCode::SUCCESS)
}
