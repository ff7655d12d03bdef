//! The TOML parser's errors in this program's words: what was read, and what is accepted.

use crate::text::quote;

use super::problems::{ConfigProblemKind, ProblemCollector};
use super::span::LineIndex;

/// Reports the parser's errors, of each line only the first: the others mostly follow from it.
pub(super) fn report_syntax_errors(
    text: &str,
    errors: &[toml::de::Error],
    problems: &mut ProblemCollector,
) {
    let lines = LineIndex::new(text);
    let mut last_line = None;
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in errors {
        // The error about too deep nesting may have no place.
        let span = error.span().unwrap_or(0..0);
        let (line, _, line_text, in_line) = lines.locate_span(&span);
        if last_line.replace(line) == Some(line) {
            continue;
        }
        if error.message().contains("recurs") {
            let help = Some("expected at most 80 levels".into());
            problems.add(
                ConfigProblemKind::Syntax,
                &span,
                "the values or keys nest too deep",
                help,
            );
            break;
        }
        if is_after_inner_quote(line_text, in_line.start) {
            let message = "the string ends before this, at the quote inside of it";
            let help = "expected other quotes around a text that contains quotes: '…', or '''…''' if it contains those, too";
            problems.add(ConfigProblemKind::Syntax, &span, message, Some(help.into()));
            continue;
        }
        let read = text.get(span.clone()).unwrap_or_default();
        let (message, mut help) = reword_error(error.message(), read);
        if is_within_quotes(text, span.start) {
            let quotes =
                "a text with quotation marks or backslashes in it stands in '…' or '''…'''";
            help = Some(help.map_or(quotes.to_owned(), |help| format!("{help}; {quotes}")));
        }
        problems.add(ConfigProblemKind::Syntax, &span, message, help);
    }
}

/// Whether the error at byte `at` of a line such as `extract = ".["a b"]"` follows from a delimiter inside of the string.
fn is_after_inner_quote(line: &str, at: usize) -> bool {
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    let start = key.len() + 1 + value.len() - value.trim_start().len();
    let value = value.trim();
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return false;
    };
    let is_multi_line = value.starts_with([quote; 3].iter().collect::<String>().as_str());
    // The string has ended before the error, and the line ends with its delimiter again.
    let has_ended = line
        .get(start + 1..at)
        .is_some_and(|read| read.contains(quote));
    has_ended && !is_multi_line && line[at..].contains(quote) && value.ends_with(quote)
}

/// Whether the line before `at` has a value that begins with one double quotation mark and has ended, or has a backslash: a
/// filter whose own quotation marks end it.
fn is_within_quotes(text: &str, at: usize) -> bool {
    let line = text[..at].rsplit('\n').next().unwrap_or_default();
    let Some((_, value)) = line.split_once('=') else {
        return false;
    };
    let value = value.trim_start();
    let Some(inner) = value
        .strip_prefix('"')
        .filter(|inner| !inner.starts_with("\"\""))
    else {
        return false;
    };
    inner.contains('\\') || inner.trim_end().ends_with('"')
}

/// A message and a help for one of the parser's messages about `read`.
fn reword_error(message: &str, read: &str) -> (String, Option<String>) {
    let with_help = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    if read.contains(['“', '”', '„', '‘', '’', '«', '»']) {
        return with_help(
            "curly quotes do not delimit a string",
            "expected straight ones: \"…\" or '…'",
        );
    }
    if message.starts_with("string values must be quoted") {
        return match read {
            "" => with_help("there is no value", "expected one after `=`"),
            "yes" | "no" | "on" | "off" => {
                let help = "expected `true` or `false`, or quotes around a string";
                with_help("a string without quotes", help)
            }
            _ if read.len() < 80 && !read.contains(['"', '\\']) => with_help(
                "a string without quotes",
                &format!("did you mean \"{read}\"?"),
            ),
            _ => with_help("a string without quotes", "expected quotes around it"),
        };
    }
    if message.starts_with("invalid boolean") {
        let message = format!("{} is not a boolean", quote(read));
        return with_help(&message, "expected `true` or `false`");
    }
    if message == "duplicate key" {
        return with_help(
            &format!("the key `{read}` is written twice"),
            "expected once",
        );
    }
    match message.split_once(", expected ") {
        Some((message, expected)) => with_help(message, &format!("expected {expected}")),
        None => (message.to_owned(), None),
    }
}
