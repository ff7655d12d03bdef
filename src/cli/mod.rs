//! Floor 6: arguments in, exit code out.
//!
//! Imports everything below; nothing imports it. A command decides nothing about sources or freshness: it builds what
//! it needs, waits, shows, and says how it went by its exit code: 0 fine, 1 failed at run time, 2 bad usage or
//! configuration.

mod arguments;
mod call_estimate;
mod check;
mod columns;
mod config_watch;
mod demo;
mod generate;
mod healthcheck;
mod live_check;
mod load_config;
mod once;
mod once_table;
mod reload_task;
mod serve;
mod simulate;
mod terminal;
mod wrap;

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{CliArguments, CliCommand};
use self::terminal::CommandError;

/// Runs the command that the process was started with, to its exit code.
pub fn main() -> ExitCode {
    let arguments = match CliArguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refused) => {
            // Help and version are such errors too, and go to standard output; a closed one is nobody's business.
            let _ = refused.print();
            return ExitCode::from(if refused.use_stderr() { 2 } else { 0 });
        }
    };
    dispatch_command(arguments).unwrap_or_else(CommandError::report_exit_code)
}

fn dispatch_command(arguments: CliArguments) -> Result<ExitCode, CommandError> {
    match arguments.into_command() {
        CliCommand::Serve(arguments) => serve::run(&arguments),
        CliCommand::Demo(arguments) => demo::run(&arguments),
        CliCommand::Once(arguments) => once::run(&arguments),
        CliCommand::Simulate(arguments) => simulate::run(&arguments),
        CliCommand::Healthcheck(arguments) => healthcheck::run(&arguments),
        CliCommand::Completions { shell } => generate::print_completions(shell),
        CliCommand::Man => generate::print_man_page(),
        CliCommand::Check(arguments) => check::run(&arguments),
    }
}
