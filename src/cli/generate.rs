//! `completions` and `man`: generated from the definition of the arguments.

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::arguments::CliArguments;
use super::command::CommandError;
use super::terminal::print_stdout;

/// Prints the completion script of `shell`.
pub(super) fn print_completions(shell: Shell) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    let mut command = CliArguments::command();
    clap_complete::generate(shell, &mut command, env!("CARGO_PKG_NAME"), &mut script);
    print_stdout(script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page in roff format.
pub(super) fn print_man_page() -> Result<ExitCode, CommandError> {
    print_stdout(render_man_page().context("failed to render the manual page")?)?;
    Ok(ExitCode::SUCCESS)
}

/// Renders one page for the program and all its commands; `clap_mangen` alone would render one page per command.
fn render_man_page() -> io::Result<Vec<u8>> {
    let mut command = CliArguments::command();
    // Propagates global settings and adds `--help` to the subcommands, as parsing would.
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for subcommand in command.get_subcommands() {
        let about = subcommand
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut section = Roff::new();
        section.control("SH", [subcommand.get_name().to_uppercase().as_str()]);
        section.text([roman(format!("{about}."))]).control("PP", []);
        section.to_writer(&mut page)?;
        // The options follow in the section of the command, without a heading.
        let mut options = Vec::new();
        Man::new(subcommand.clone()).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
        page.extend(options.into_bytes());
        after_help(subcommand).to_writer(&mut page)?;
    }
    Roff::new().control("SH", ["NOTES"]).to_writer(&mut page)?;
    after_help(&command).to_writer(&mut page)?;
    Ok(page)
}

/// Returns the text after the options of the help, its line breaks unchanged.
fn after_help(command: &Command) -> Roff {
    let mut section = Roff::new();
    if let Some(text) = command.get_after_help() {
        section.control("PP", []).control("nf", []);
        for line in text.to_string().lines() {
            section.text([roman(line)]);
        }
        // `nf` and `fi` keep the line breaks: the text holds tables of variables and exit codes.
        section.control("fi", []);
    }
    section
}
