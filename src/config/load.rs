//! A file's path → a configuration, or every problem of it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::domain::Secrets;
use crate::extract::Filters;

use super::context::Context;
use super::diagnostics::{Report, Severity};
use super::place::Lines;
use super::problems::Problems;
use super::section::quote;
use super::validate::{Parts, validate};
use super::{Config, Footprint, files, raw};

/// The most bytes that a configuration may have.
pub(super) const MAX_BYTES: u64 = 8 << 20;

/// Where a configuration is looked for when nobody names one, in this order.
const PLACES: [&str; 2] = ["config/resumen.toml", "/etc/resumen/resumen.toml"];

/// The configuration's path: `explicit`, else `RESUMEN_CONFIG`, else the first of the usual places where there is
/// something, else the first of them.
pub fn find(explicit: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let named = explicit.map(PathBuf::from);
    let named = named.or_else(|| {
        env("RESUMEN_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let usual = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    named.or_else(usual).unwrap_or_else(|| PLACES[0].into())
}

/// Reads and checks the file at `path`; `env` looks up a variable of the environment.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Report> {
    let bytes = files::read(path, MAX_BYTES).map_err(|error| {
        let help = "the configuration is what --config names, else RESUMEN_CONFIG, else config/resumen.toml, \
                    else /etc/resumen/resumen.toml";
        let report = Report::of_file(path, format!("the configuration cannot be read: {error}"), Some(help.into()));
        report.read_from(Footprint::of(path, Err(&error.to_string())))
    })?;
    parse(path, &bytes.bytes, env)
}

/// Checks what stands in a file, or would stand in one, at `path`.
pub fn parse(
    path: &Path,
    bytes: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Report> {
    let mut read_from = Footprint::of(path, Ok(bytes));
    let text = decode(path, bytes).map_err(|report| report.read_from(read_from.clone()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut cx = Context::new(text, folder, env);
    let parts = read(text, &mut cx);
    cx.tell_files(&mut read_from);
    let secrets = Secrets::new(cx.secrets);
    let problems = cx.problems.finish(path, text, &secrets);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(Report {
            problems,
            read_from,
        });
    }
    let Parts {
        server,
        store,
        sources,
    } = parts;
    Ok(Config {
        path: path.into(),
        read_from,
        server,
        store,
        sources,
        filters: cx.filters,
        secrets,
        warnings: problems,
    })
}

fn read(text: &str, cx: &mut Context<'_>) -> Parts {
    let (tree, errors) = DeTable::parse_recoverable(text);
    tell_syntax(text, &errors, &mut cx.problems);
    let raw = raw::read(tree.get_ref(), cx);
    // All at once, since there may be many and each takes a while.
    cx.filters = Filters::compile(raw.filters().map(|text| text.value.as_str()));
    validate(&raw, cx)
}

/// The file's text, without its byte order mark.
fn decode<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, Report> {
    let refuse = |at: Range<usize>, message: &str, help: &str| {
        let text = String::from_utf8_lossy(bytes);
        let mut problems = Problems::default();
        problems.syntax(at, message, Some(help.into()));
        Err(Report {
            problems: problems.finish(path, &text, &Secrets::default()),
            read_from: Footprint::default(),
        })
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Report::of_file(
            path,
            "the file is UTF-16".into(),
            Some("expected UTF-8".into()),
        ));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!("the byte 0x{:02x} is not UTF-8", bytes[at]);
            return refuse(
                at..at + 3,
                &message,
                "expected UTF-8; perhaps the file was saved as Latin-1?",
            );
        }
    };
    match text.find('\0') {
        Some(at) => {
            let at = at + (bytes.len() - text.len());
            refuse(at..at + 1, "the file holds a NUL", "expected text")
        }
        None => Ok(text),
    }
}

/// The parser's errors, the first of each line: the others are mostly its echoes.
fn tell_syntax(text: &str, errors: &[toml::de::Error], problems: &mut Problems) {
    let lines = Lines::new(text);
    let mut last = None;
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in errors {
        let deep = error.message().contains("recurs");
        // The parser knows no place for one of its limits.
        let span = error.span().unwrap_or(0..0);
        let line = lines.find(&span).0;
        if last.replace(line) == Some(line) {
            continue;
        }
        let (message, help) = if deep {
            (
                "the values or keys nest too deep".into(),
                Some("expected at most 80 levels".into()),
            )
        } else {
            reword(error.message(), text.get(span.clone()).unwrap_or_default())
        };
        problems.syntax(span, message, help);
        if deep {
            break;
        }
    }
}

/// A parser's message as ours: what was read, and what is accepted.
fn reword(message: &str, read: &str) -> (String, Option<String>) {
    if read.contains(['“', '”', '„', '‘', '’', '«', '»']) {
        return (
            "curly quotes are no quotes".into(),
            Some("expected straight ones: \"…\" or '…'".into()),
        );
    }
    if message.starts_with("string values must be quoted") {
        return unquoted(read);
    }
    if message.starts_with("invalid boolean") {
        return (
            format!("{} is no boolean", quote(read)),
            Some("expected `true` or `false`".into()),
        );
    }
    if message == "duplicate key" {
        return (
            format!("the key `{read}` is written twice"),
            Some("expected once".into()),
        );
    }
    match message.split_once(", expected ") {
        Some((what, expected)) => (what.to_owned(), Some(format!("expected {expected}"))),
        None => (message.to_owned(), None),
    }
}

/// A value that is none of TOML's: text without quotes, or nothing.
fn unquoted(read: &str) -> (String, Option<String>) {
    let help = match read {
        "" => {
            return (
                "there is no value".into(),
                Some("expected one after `=`".into()),
            );
        }
        "yes" | "no" | "on" | "off" => "expected `true` or `false`, or quotes around a text".into(),
        _ if read.len() < 80 && !read.contains(['"', '\\']) => format!("did you mean \"{read}\"?"),
        _ => "expected quotes around it".into(),
    };
    ("a text without quotes".into(), Some(help))
}
