//! Completions and the manual page, made from the parser itself, so that they cannot disagree with it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::Arguments;
use super::console::{Failed, print};

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut Arguments::command(),
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    print(script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, in roff.
pub(super) fn page() -> Result<ExitCode, Failed> {
    print(roff().context("failed to render the manual page")?)?;
    Ok(ExitCode::SUCCESS)
}

/// One page for the program and all its commands.
fn roff() -> std::io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for sub in command.get_subcommands() {
        section(&mut page, sub)?;
    }
    page.extend(literal("NOTES", &after_help(&command)).into_bytes());
    Ok(page)
}

/// A command of the program: what it does, its options, what its help says after them.
fn section(page: &mut Vec<u8>, command: &Command) -> std::io::Result<()> {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let name = command.get_name().to_uppercase();
    page.extend(format!(".SH {name}\n{}.\n.PP\n", escaped(&about)).into_bytes());
    let mut options = Vec::new();
    Man::new(command.clone()).render_options_section(&mut options)?;
    page.extend(
        String::from_utf8_lossy(&options)
            .replace(".SH OPTIONS\n", "")
            .into_bytes(),
    );
    page.extend(literal("", &after_help(command)).into_bytes());
    Ok(())
}

fn after_help(command: &Command) -> String {
    command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// A text whose lines stay as they are.
fn literal(head: &str, text: &str) -> String {
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
        let _ = writeln!(out, "{}", escaped(line));
    }
    out + ".fi\n"
}

/// Text that roff takes for nothing else.
fn escaped(text: &str) -> String {
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
    fn lines_of_examples_stay_lines_and_nothing_in_them_is_a_request() {
        let text = literal("X", ".so /etc/passwd\n'x\n--live \\n");
        assert_eq!(
            text,
            ".SH X\n.nf\n\\&.so /etc/passwd\n\\&'x\n\\-\\-live \\en\n.fi\n"
        );
    }
}
