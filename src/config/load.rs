//! A file's path → a configuration, or every problem of it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::domain::SecretSet;
use crate::extract::FilterCache;

use super::config_problems::ProblemCollector;
use super::diagnostics::{ConfigError, Severity};
use super::fingerprint::FileFingerprints;
use super::loader::ConfigLoader;
use super::span::LineIndex;
use super::table_reader::quote;
use super::validate::{ValidatedConfig, validate_config};
use super::{files, raw_config};
use crate::config::Config;

/// The most bytes that a configuration may have.
pub(super) const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Where a configuration is looked for when nobody names one, in this order.
const DEFAULT_PATHS: [&str; 2] = ["config/resumen.toml", "/etc/resumen/resumen.toml"];

/// The configuration's path: `explicit`, else `RESUMEN_CONFIG`, else the first of the usual places where there is
/// something, else the first of them.
pub fn find_path(explicit: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let named = explicit.map(PathBuf::from);
    let named = named.or_else(|| {
        env("RESUMEN_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let usual = || {
        DEFAULT_PATHS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    };
    named
        .or_else(usual)
        .unwrap_or_else(|| DEFAULT_PATHS[0].into())
}

/// Reads and checks the file at `path`; `env` looks up a variable of the environment.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let bytes = files::read_file(path, MAX_CONFIG_BYTES).map_err(|error| {
        let help = "the configuration is what --config names, else RESUMEN_CONFIG, else config/resumen.toml, \
                    else /etc/resumen/resumen.toml";
        let report = ConfigError::for_file(path, format!("the configuration cannot be read: {error}"), Some(help.into()));
        report.with_fingerprints(FileFingerprints::from_content(path, Err(&error.to_string())))
    })?;
    parse(path, &bytes.bytes, env)
}

/// Checks what stands in a file, or would stand in one, at `path`.
pub fn parse(
    path: &Path,
    bytes: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut read_from = FileFingerprints::from_content(path, Ok(bytes));
    let text =
        decode_utf8(path, bytes).map_err(|report| report.with_fingerprints(read_from.clone()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut cx = ConfigLoader::new(text, folder, env);
    let parts = read_and_validate(text, &mut cx);
    cx.record_files(&mut read_from);
    let secrets = SecretSet::new(cx.secrets);
    let problems = cx.problems.into_problems(path, text, &secrets);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(ConfigError {
            problems,
            fingerprints: read_from,
        });
    }
    let ValidatedConfig {
        server,
        store,
        sources,
        max_per_host,
    } = parts;
    Ok(Config {
        path: path.into(),
        fingerprints: read_from,
        server,
        store,
        sources,
        max_per_host,
        filters: cx.filters,
        secrets,
        warnings: problems,
    })
}

fn read_and_validate(text: &str, cx: &mut ConfigLoader<'_>) -> ValidatedConfig {
    let (tree, errors) = DeTable::parse_recoverable(text);
    report_syntax_errors(text, &errors, &mut cx.problems);
    let raw = raw_config::read_config(tree.get_ref(), cx);
    // All at once, since there may be many and each takes a while.
    cx.filters = FilterCache::compile_all(raw.filter_texts().map(|text| text.value.as_str()));
    validate_config(&raw, cx)
}

/// The file's text, without its byte order mark.
fn decode_utf8<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, ConfigError> {
    let refuse = |at: Range<usize>, message: &str, help: &str| {
        let text = String::from_utf8_lossy(bytes);
        let mut problems = ProblemCollector::default();
        problems.add_syntax_error(at, message, Some(help.into()));
        Err(ConfigError {
            problems: problems.into_problems(path, &text, &SecretSet::default()),
            fingerprints: FileFingerprints::default(),
        })
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(ConfigError::for_file(
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
fn report_syntax_errors(text: &str, errors: &[toml::de::Error], problems: &mut ProblemCollector) {
    let lines = LineIndex::new(text);
    let mut last = None;
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in errors {
        let deep = error.message().contains("recurs");
        // The parser knows no place for one of its limits.
        let span = error.span().unwrap_or(0..0);
        let line = lines.locate_span(&span).0;
        if last.replace(line) == Some(line) {
            continue;
        }
        let (message, help) = if deep {
            (
                "the values or keys nest too deep".into(),
                Some("expected at most 80 levels".into()),
            )
        } else {
            reword_syntax_error(error.message(), text.get(span.clone()).unwrap_or_default())
        };
        problems.add_syntax_error(span, message, help);
        if deep {
            break;
        }
    }
}

/// A parser's message as ours: what was read, and what is accepted.
fn reword_syntax_error(message: &str, read: &str) -> (String, Option<String>) {
    if read.contains(['“', '”', '„', '‘', '’', '«', '»']) {
        return (
            "curly quotes are no quotes".into(),
            Some("expected straight ones: \"…\" or '…'".into()),
        );
    }
    if message.starts_with("string values must be quoted") {
        return unquoted_value_problem(read);
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
fn unquoted_value_problem(read: &str) -> (String, Option<String>) {
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
