//! The terminal of a command: width, colours, escaped control characters, standard output.

use std::env;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;

use anyhow::Context as _;

/// Width in columns that a narrower terminal is treated as having.
const MIN_WIDTH: u16 = 20;

/// How text is laid out on one output stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    /// Width in columns. `None` if the stream is no terminal or has no known size: no line is then wrapped or cut.
    pub(super) width: Option<u16>,
    /// Whether ANSI colours are used.
    pub(super) has_colour: bool,
}

/// An ANSI text style; the discriminant is its SGR parameter.
#[derive(Clone, Copy)]
pub(super) enum TextStyle {
    Success = 32,
    Warning = 33,
    Error = 31,
    Dim = 2,
    Bold = 1,
}

impl Terminal {
    /// Returns the width and the colour support of `stream`.
    pub(super) fn from_stream(stream: &(impl IsTerminal + AsFd)) -> Self {
        // Of this stream: standard output may be a pipe while standard error is a terminal.
        let size = rustix::termios::tcgetwinsize(stream).ok();
        Self {
            width: size
                .filter(|size| size.ws_col > 0)
                .map(|size| size.ws_col.max(MIN_WIDTH)),
            has_colour: supports_colour(stream),
        }
    }

    /// Returns `text` in this style, or unchanged without colours.
    pub(super) fn apply_style(self, style: TextStyle, text: &str) -> String {
        if self.has_colour && !text.is_empty() {
            format!("\u{1b}[{}m{text}\u{1b}[0m", style as u8)
        } else {
            text.to_owned()
        }
    }
}

/// Whether `stream` is a terminal with colours: `NO_COLOR` is unset or empty and `TERM` is not `dumb`.
pub(super) fn supports_colour(stream: &impl IsTerminal) -> bool {
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_colour && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Returns `text` with control and bidirectional formatting characters escaped, so that a provider's text cannot
/// control the terminal.
pub(super) fn escape_control(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Writes `text` to standard output. A reader that closed the pipe (`| head`) is no error.
pub(super) fn print_stdout(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to standard output")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            escape_control("a\u{1b}[2Jb\u{202e}c\u{61c}"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{61c}"
        );
    }
}
