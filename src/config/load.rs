//! Loads a configuration: finds the file, parses it, reads its tables by the declared keys, and validates the values.
//! No step stops at the first problem.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::domain::{DEFAULT_MAX_PER_HOST, SecretSet};

use super::config_settings::{Config, ServerSettings};
use super::diagnostics::{ConfigError, Severity};
use super::files;
use super::fingerprint::FileFingerprints;
use super::keys::Section;
use super::loader::ConfigLoader;
use super::problems::{ConfigProblemKind, ProblemCollector};
use super::span::{Span, SpannedStr};
use super::syntax::report_syntax_errors;
use super::table::Table;
use super::table_reader::read_root;
use super::validate::{
    MetricFamilies, RequestDefaults, validate_auths, validate_derived_sources, validate_server,
    validate_sources, validate_store, warn_unused_auths,
};

/// Where a configuration is looked for if no path is given, in this order.
const DEFAULT_PATHS: [&str; 2] = ["config/resumen.toml", "/etc/resumen/resumen.toml"];

/// The path of the configuration: `explicit`, else `RESUMEN_CONFIG`, else the first of the default paths that exists,
/// else the first of them.
pub fn find_path(explicit: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    if let Some(path) = explicit {
        return path.into();
    }
    if let Some(path) = env("RESUMEN_CONFIG").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let existing = DEFAULT_PATHS.iter().find(|path| Path::new(path).exists());
    existing.unwrap_or(&DEFAULT_PATHS[0]).into()
}

/// Reads and validates the file at `path`. `env` looks up a variable of the environment.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    match files::read_file(path, files::MAX_CONFIG_BYTES) {
        Ok(content) => parse(path, &content.bytes, env),
        Err(error) => {
            let message = format!("the configuration cannot be read: {error}");
            let help = "the configuration is what --config names, else RESUMEN_CONFIG, else \
                        config/resumen.toml, else /etc/resumen/resumen.toml";
            let mut refused = ConfigError::for_file(path, message, help);
            refused.fingerprints.record_file(path, Err(&error));
            Err(refused)
        }
    }
}

/// Reads only `[server]` of the file at `path`: defaults where it, or a value, cannot be used. Problems are
/// not reported.
pub fn load_server_settings(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> ServerSettings {
    let Ok(content) = files::read_file(path, files::MAX_CONFIG_BYTES) else {
        return ServerSettings::default();
    };
    let Ok(text) = decode_utf8(path, &content.bytes) else {
        return ServerSettings::default();
    };
    let mut loader = ConfigLoader::new(text, path.parent().unwrap_or(Path::new("")), env);
    let (tree, _) = DeTable::parse_recoverable(text);
    let root = read_root(tree.get_ref(), &mut loader);
    let server = root.tables("server").first();
    server.map_or_else(ServerSettings::default, |server| {
        validate_server(server, &mut loader)
    })
}

/// Validates `bytes` as the content of a file at `path`, which need not exist.
pub fn parse(
    path: &Path,
    bytes: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut fingerprints = FileFingerprints::default();
    // Before the first error: a file that is refused is watched, too, and loaded when it is
    // repaired.
    fingerprints.record_file(path, Ok(bytes));
    let text = match decode_utf8(path, bytes) {
        Ok(text) => text,
        Err(error) => {
            return Err(ConfigError {
                fingerprints,
                ..error
            });
        }
    };
    let mut loader = ConfigLoader::new(text, path.parent().unwrap_or(Path::new("")), env);
    let (tree, errors) = DeTable::parse_recoverable(text);
    report_syntax_errors(text, &errors, &mut loader.problems);
    // Also after errors of syntax: the parser recovers, and all problems are told at once.
    let root = read_root(tree.get_ref(), &mut loader);
    // All filters are known only now; compiled together they use all processors.
    let filters = loader.compile_filters();

    let absent = [Section::Server, Section::Store, Section::Defaults]
        .map(|section| Table::new(section, SpannedStr::default(), 0..0));
    let [server, store, defaults] =
        ["server", "store", "defaults"].map(|key| root.tables(key).first());
    let max_per_host = defaults
        .and_then(|defaults| defaults.integer("max_per_host"))
        .map_or(DEFAULT_MAX_PER_HOST, |calls| calls as usize);
    let server = validate_server(server.unwrap_or(&absent[0]), &mut loader);
    let store = validate_store(store.unwrap_or(&absent[1]), &mut loader);
    let names = root.tables("auth").iter().map(|table| &table.name.value);
    loader.auth_names = names.cloned().collect();
    let defaults = RequestDefaults::new(defaults.unwrap_or(&absent[2]), &mut loader);
    let auths = validate_auths(&root, &defaults, store.redis.is_some(), &mut loader);
    let mut families = MetricFamilies::default();
    let mut sources = validate_sources(&root, &defaults, &mut families, &mut loader);
    warn_unused_auths(&root, &auths, &sources, &mut loader);
    // A derived source inherits the freshness of its inputs, so the fetched sources come first.
    let derived = validate_derived_sources(&root, &sources, &mut families, &mut loader);
    sources.extend(derived);

    // After the validation, which reads the certificates.
    loader.record_files(&mut fingerprints);
    // All secrets are known only now; no problem is turned into text before.
    let secrets = SecretSet::new(loader.secrets);
    let problems = loader.problems.into_problems(path, text, &secrets);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(ConfigError {
            problems,
            fingerprints,
        });
    }
    let mut plain_values = BTreeSet::from_iter(loader.plain_values);
    // A parameter may be both: `${CITY}` elsewhere has the same value.
    plain_values.retain(|value| {
        !loader
            .referenced
            .iter()
            .any(|secret| value.contains(&**secret))
    });
    Ok(Config {
        plain_values,
        path: path.into(),
        fingerprints,
        server,
        store,
        auths: auths.into_iter().map(Arc::new).collect(),
        sources: sources.into_iter().map(Arc::new).collect(),
        max_per_host,
        filters,
        secrets,
        warnings: problems,
    })
}

/// The text of a file without its byte order mark.
fn decode_utf8<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, ConfigError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(ConfigError::for_file(
            path,
            "the file is UTF-16".into(),
            "expected UTF-8",
        ));
    }
    let refuse = |span: Span, message: &str, help: &str| {
        let text = String::from_utf8_lossy(bytes);
        let mut problems = ProblemCollector::default();
        problems.add(ConfigProblemKind::Syntax, &span, message, Some(help.into()));
        Err(ConfigError {
            problems: problems.into_problems(path, &text, &SecretSet::default()),
            fingerprints: FileFingerprints::default(),
        })
    };
    match std::str::from_utf8(bytes) {
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!("the byte 0x{:02x} is not UTF-8", bytes[at]);
            let help = "expected UTF-8; perhaps the file was saved as Latin-1?";
            // The lossy text has a replacement character of three bytes at this place.
            refuse(at..at + 3, &message, help)
        }
        Ok(text) => match text.find('\0') {
            Some(at) => refuse(at..at + 1, "the file contains a NUL", "expected text"),
            None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::section_keys;
    use super::*;

    /// The file with every default of `[server]`, `[store]` and `[defaults]` means the same as the empty file.
    #[test]
    fn declared_defaults_are_effective() {
        let source = "[sources.a]\nurl = 'http://localhost'\n";
        let load = |text: &str| {
            let path = Path::new("resumen.toml");
            parse(path, text.as_bytes(), &|_| None).unwrap()
        };
        let mut text = String::new();
        for (section, header) in [
            (Section::Server, "server"),
            (Section::Store, "store"),
            (Section::Defaults, "defaults"),
        ] {
            text += &["[", header, "]\n"].concat();
            let lines =
                section_keys(section).map(|key| [key.name, " = ", key.default, "\n"].concat());
            text.extend(lines.filter(|line| line.parse::<toml::Table>().is_ok()));
        }
        let (written, absent) = (load(&(text.clone() + source)), load(source));
        assert!(text.lines().count() > 15, "{text}");
        assert_eq!(written.server, absent.server);
        assert_eq!(written.store, absent.store);
        assert_eq!(written.sources, absent.sources);
    }
}
