//! The state of loading one configuration: the environment, the files read, the filters, the problems and the secrets.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::domain::Time;
use crate::extract::FilterCache;
use crate::text::escape_json;

use super::expand::{ConfigReference, ReferenceValue, example_text, expand_references, parse_date};
use super::files::{self, FileContent, MAX_FILE_BYTES};
use super::fingerprint::FileFingerprints;
use super::json_body::{has_open_string, is_json, is_json_body};
use super::keys::{Key, Kind};
use super::problems::{ConfigProblemKind, ProblemCollector, ValueError, refuse};
use super::secrets;
use super::span::{Span, SpannedStr, map_decoded_span};

/// The help for a filter whose error has none.
const FILTER_HELP: &str = "expected a jq filter such as `.data.amount | tonumber`";

/// The help for a label whose filter is a word.
const LABEL_HELP: &str = "a text that is always the same is written `'\"home\"'`";

const REQUEST_REFERENCE_HELP: &str =
    "`${date…}` and `${auth.…}` are possible in `url`, `query`, `headers`, `body` and `form`";

const SECRET_FILE_HELP: &str =
    "a relative path starts at the configuration's folder; at most 64KiB of UTF-8";

/// The first character of `value` that breaks it as a parameter's value in a URL, where `before` stands before it.
fn find_query_delimiter(value: &str, before: &str) -> Option<char> {
    let is_parameter = before.contains('?') && before.ends_with('=');
    value
        .chars()
        .find(|c| is_parameter && matches!(c, '&' | '#' | '+' | '%'))
}

/// A filter that is not compiled yet.
struct PendingFilter {
    text: SpannedStr,
    /// Whether it gives the value of a label.
    is_label: bool,
}

/// The state of loading one configuration.
pub(super) struct ConfigLoader<'c> {
    /// The text of the configuration file; spans are bytes of it.
    pub(super) text: &'c str,
    /// The folder at which relative paths start.
    folder: &'c Path,
    /// Looks up a variable of the environment.
    env: &'c dyn Fn(&str) -> Option<String>,
    pub(super) problems: ProblemCollector,
    /// Values that must be redacted.
    pub(super) secrets: Vec<String>,
    /// Literal parameters of requests that name no credential.
    pub(super) plain_values: Vec<String>,
    /// What references were replaced by.
    pub(super) referenced: Vec<String>,
    files: HashMap<PathBuf, Result<Rc<FileContent>, String>>,
    /// The filters of the file, not compiled yet.
    filters: Vec<PendingFilter>,
    /// Whether one of the filters does not compile.
    pub(super) has_invalid_filter: bool,
    /// The names of all `[auth.NAME]`.
    pub(super) auth_names: Vec<String>,
}

impl<'c> ConfigLoader<'c> {
    pub(super) fn new(
        text: &'c str,
        folder: &'c Path,
        env: &'c dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            text,
            folder,
            env,
            problems: ProblemCollector::default(),
            secrets: Vec::new(),
            plain_values: Vec::new(),
            referenced: Vec::new(),
            files: HashMap::new(),
            filters: Vec::new(),
            has_invalid_filter: false,
            auth_names: Vec::new(),
        }
    }

    /// The value of a variable of the environment. It is not registered as a secret.
    pub(super) fn read_variable(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// Adds a problem about an invalid key or value.
    pub(super) fn error(&mut self, span: &Span, message: &str, help: impl Into<String>) {
        self.problems
            .add(ConfigProblemKind::Invalid, span, message, Some(help.into()));
    }

    /// Adds a problem about an absent value.
    pub(super) fn missing(&mut self, span: &Span, message: &str, help: &str) {
        self.problems
            .add(ConfigProblemKind::Missing, span, message, Some(help.into()));
    }

    /// Adds a problem about a valid value that is probably a mistake.
    pub(super) fn warning(&mut self, span: &Span, message: &str, help: impl Into<String>) {
        self.problems
            .add(ConfigProblemKind::Warning, span, message, Some(help.into()));
    }

    /// The value of a check of `text`. An error becomes a problem at the text.
    pub(super) fn check<T>(
        &mut self,
        text: &SpannedStr,
        result: Result<T, ValueError>,
    ) -> Option<T> {
        result
            .map_err(|error| self.error(&text.span, &error.message, error.help))
            .ok()
    }

    /// The text of `key` at `span` with its references expanded. Errors in references become problems.
    pub(super) fn expand_text(
        &mut self,
        written: &str,
        span: Span,
        key: &Key,
    ) -> Option<SpannedStr> {
        if !written.contains('$') {
            return Some(SpannedStr::literal(written, span));
        }
        let is_json_body = key.name == "body" && is_json_body(written);
        let expanded = expand_references(written, |reference, before| {
            let found = self.resolve_reference(reference, key, &span)?;
            let is_json_string = is_json_body && has_open_string(before);
            let value = match found {
                ReferenceValue::AuthField(name) if is_json_string => {
                    return Ok(ReferenceValue::JsonAuthField(name));
                }
                ReferenceValue::Text(value) => value,
                other => return Ok(other),
            };
            // A provider may echo a single line of a value with several lines.
            self.secrets.push(value.clone());
            self.referenced.push(value.clone());
            self.secrets.extend(value.lines().map(str::to_owned));
            if is_json_string {
                return Ok(ReferenceValue::Text(escape_json(&value)));
            }
            if is_json_body && !value.is_empty() && !is_json(&value) {
                let message = format!("{reference} is no JSON value");
                let help = "within quotation marks, it is escaped as the content of a JSON string";
                self.warning(&span, &message, help);
            }
            if matches!(key.kind, Kind::Url(_))
                && let Some(broken) = find_query_delimiter(&value, before)
            {
                let message = format!(
                    "{reference} contains `{broken}`, which ends or changes a value in a URL"
                );
                let help = "write the parameter into `query`, which encodes it";
                self.warning(&span, &message, help);
            }
            Ok(ReferenceValue::Text(value))
        });
        match expanded {
            Ok(text) => Some(SpannedStr {
                value: example_text(&text, Time::default()),
                original: Some(written.into()),
                request_text: text.as_literal().is_none().then_some(text),
                span,
            }),
            Err(errors) => {
                // The problem shows the line, and with it the literal parts of the text.
                self.secrets.extend(secrets::unexpanded_secrets(written));
                for (inner, error) in errors {
                    let place = map_decoded_span(self.text, &span, &inner);
                    self.error(&place, &error.message, error.help);
                }
                None
            }
        }
    }

    fn resolve_reference(
        &mut self,
        reference: ConfigReference<'_>,
        key: &Key,
        span: &Span,
    ) -> Result<ReferenceValue, ValueError> {
        let text = match reference {
            ConfigReference::Variable(name) => match (self.env)(name) {
                Some(value) => value,
                None => {
                    return refuse(
                        format!("the environment variable `{name}` is not set"),
                        format!("set it, or write `${{{name}:-default}}`"),
                    );
                }
            },
            ConfigReference::VariableOrDefault(name, default) => {
                let set = (self.env)(name).filter(|value| !value.is_empty());
                set.unwrap_or_else(|| default.replace("$$", "$"))
            }
            ConfigReference::File(path) => {
                let content = self.read_secret_file(path, span);
                content.or_else(|why| {
                    let path = path.escape_debug();
                    let message = format!("the secret file `{path}` cannot be read: {why}");
                    refuse(message, SECRET_FILE_HELP)
                })?
            }
            ConfigReference::Date(_) | ConfigReference::AuthField(_) if !key.is_request_text => {
                let message = "the value of this reference is known only when a request is sent";
                return refuse(message, REQUEST_REFERENCE_HELP);
            }
            ConfigReference::Date(date) => return parse_date(date).map(ReferenceValue::Date),
            ConfigReference::AuthField(name) => return Ok(ReferenceValue::AuthField(name.into())),
        };
        if text.is_empty() && !matches!(reference, ConfigReference::VariableOrDefault(..)) {
            let help = "a secret that is empty is refused by most servers; write `${NAME:-}` if it may be empty";
            self.warning(span, &format!("{reference} is empty"), help);
        }
        Ok(ReferenceValue::Text(text))
    }

    /// The text of a file without its trailing newline. Otherwise why it cannot be read.
    fn read_secret_file(&mut self, path: &str, span: &Span) -> Result<String, String> {
        let content = self.read_file(path)?;
        let text = std::str::from_utf8(&content.bytes).map_err(|_| "it is not UTF-8")?;
        if content.world_readable {
            let path = path.escape_debug();
            let message = format!("every user of this machine may read the secret file `{path}`");
            let help = "restrict it to its owner and group: `chmod o-r`";
            self.warning(span, &message, help);
        }
        Ok(match text.strip_suffix('\n') {
            Some(line) => line.strip_suffix('\r').unwrap_or(line).to_owned(),
            None => text.to_owned(),
        })
    }

    /// The content of a file of at most 64 KiB, read once even if several keys name it. Otherwise why it cannot be read.
    pub(super) fn read_file(&mut self, path: &str) -> Result<Rc<FileContent>, String> {
        let path = self.folder.join(path);
        let read = |path: &PathBuf| files::read_file(path, MAX_FILE_BYTES).map(Rc::new);
        self.files.entry(path).or_insert_with_key(read).clone()
    }

    /// Adds the files that the configuration names.
    pub(super) fn record_files(&self, fingerprints: &mut FileFingerprints) {
        for (path, content) in &self.files {
            let bytes = content.as_ref().map(|content| &*content.bytes);
            fingerprints.record_file(path, bytes.map_err(String::as_str));
        }
    }

    /// Adds a filter, which is compiled later: all at once, on all processors.
    pub(super) fn add_filter(&mut self, text: &str, span: Span, kind: Kind) -> SpannedStr {
        let text = SpannedStr::literal(text, span);
        self.filters.push(PendingFilter {
            text: text.clone(),
            is_label: kind == Kind::FilterTable,
        });
        text
    }

    /// Compiles all filters, in parallel if there are many. Errors become problems.
    pub(super) fn compile_filters(&mut self) -> FilterCache {
        let texts = self.filters.iter().map(|filter| filter.text.value.as_str());
        let mut compiled = FilterCache::compile_all(texts);
        for PendingFilter { text, is_label } in std::mem::take(&mut self.filters) {
            if let Err(error) = compiled.get_or_compile(&text.value) {
                let place = map_decoded_span(self.text, &text.span, &error.span);
                let parts = error.message.split_once("; ");
                let (what, mut help) = parts.unwrap_or((&error.message, FILTER_HELP));
                let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
                // Other exporters take a word for the label's value itself.
                if is_label && text.value.chars().all(is_word) {
                    help = LABEL_HELP;
                }
                self.error(&place, &format!("the filter is not valid: {what}"), help);
                self.has_invalid_filter = true;
            }
        }
        compiled
    }
}
