//! The command line: parses the arguments, runs one command, returns its exit code.
//!
//! Exit codes: 0 success, 1 failure at run time, 2 bad usage or configuration.

mod arguments;
mod call_estimate;
mod check;
mod command;
mod config_watch;
mod demo;
mod generate;
mod healthcheck;
mod layout;
mod live_check;
mod load_config;
mod metric_probe;
mod once;
mod once_appearance;
mod once_row;
mod once_table;
mod reload_task;
mod serve;
mod simulate;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{CliArguments, CliCommand};
use self::command::CommandError;

/// Runs the command in the arguments of the process and returns its exit code.
pub fn main() -> ExitCode {
    let arguments = match CliArguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` are errors too, printed to standard output with exit code 0.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match arguments.into_command() {
        CliCommand::Serve(arguments) => serve::run(&arguments),
        CliCommand::Demo(arguments) => demo::run(&arguments),
        CliCommand::Once(arguments) => once::run(&arguments),
        CliCommand::Simulate(arguments) => simulate::run(&arguments),
        CliCommand::Healthcheck(arguments) => healthcheck::run(&arguments),
        CliCommand::Completions { shell } => generate::print_completions(shell),
        CliCommand::Man => generate::print_man_page(),
        CliCommand::Check(arguments) => check::run(&arguments),
    };
    result.unwrap_or_else(CommandError::report_exit_code)
}
