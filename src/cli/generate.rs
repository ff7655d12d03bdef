//! Completions and the manual page, made from the parser itself, so that they cannot disagree with it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::CliArguments;
use super::terminal::{CommandError, print_stdout};

/// Prints the completions for a shell.
pub(crate) fn print_completions(shell: Shell) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut CliArguments::command(),
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    print_stdout(script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, in roff.
pub(crate) fn print_man_page() -> Result<ExitCode, CommandError> {
    print_stdout(render_man_page().context("failed to render the manual page")?)?;
    Ok(ExitCode::SUCCESS)
}

/// One page for the program and all its commands.
fn render_man_page() -> std::io::Result<Vec<u8>> {
    let mut command = CliArguments::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for sub in command.get_subcommands() {
        write_command_section(&mut page, sub)?;
    }
    page.extend(format_literal("NOTES", &after_help_text(&command)).into_bytes());
    Ok(page)
}

/// A command of the program: what it does, its options, what its help says after them.
fn write_command_section(page: &mut Vec<u8>, command: &Command) -> std::io::Result<()> {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let name = command.get_name().to_uppercase();
    page.extend(format!(".SH {name}\n{}.\n.PP\n", escape_roff(&about)).into_bytes());
    let mut options = Vec::new();
    Man::new(command.clone()).render_options_section(&mut options)?;
    page.extend(
        String::from_utf8_lossy(&options)
            .replace(".SH OPTIONS\n", "")
            .into_bytes(),
    );
    page.extend(format_literal("", &after_help_text(command)).into_bytes());
    Ok(())
}

fn after_help_text(command: &Command) -> String {
    command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// A text whose lines stay as they are.
fn format_literal(head: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut out = if head.is_empty() {
        ".PP\n".to_owned()
    } else {
        format!(".SH {head}\n")
    };
    out.push_str(".nf\n");
    for line in text.lines() {
        let _ = writeln!(out, "{}", escape_roff(line));
    }
    out + ".fi\n"
}

/// Text that roff takes for nothing else.
fn escape_roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roff_examples_are_escaped() {
        let text = format_literal("X", ".so /etc/passwd\n'x\n--live \\n");
        assert_eq!(
            text,
            ".SH X\n.nf\n\\&.so /etc/passwd\n\\&'x\n\\-\\-live \\en\n.fi\n"
        );
    }
}
