//! What reading a configuration needs and gathers: environment, files, filters, problems, secrets.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::extract::FilterCache;

use super::config_problems::ProblemCollector;
use super::expand;
use super::expand::ConfigReference;
use super::files;
use super::files::FileContent;
use super::fingerprint::FileFingerprints;
use super::secrets;
use super::span::map_decoded_span;
use super::table_reader::SpannedStr;

/// The most bytes that a file named in the configuration may have.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// What is said of a filter when nothing better is known.
const FILTER_HELP: &str = "expected a jq filter such as `.data.amount | tonumber`";

/// One reading of one configuration.
pub(crate) struct ConfigLoader<'c> {
    /// The file's text; spans are bytes of it.
    pub(crate) text: &'c str,
    /// What relative paths of `${file:}` and `ca_file` start at.
    folder: &'c Path,
    env: &'c dyn Fn(&str) -> Option<String>,
    pub(crate) problems: ProblemCollector,
    /// Values that must never be shown.
    pub(crate) secrets: Vec<String>,
    files: HashMap<PathBuf, Result<Rc<FileContent>, String>>,
    /// What the file's filters are compiled to.
    pub(crate) filters: FilterCache,
}

impl<'c> ConfigLoader<'c> {
    pub(crate) fn new(
        text: &'c str,
        folder: &'c Path,
        env: &'c dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let (problems, filters) = (ProblemCollector::default(), FilterCache::default());
        Self {
            text,
            folder,
            env,
            problems,
            secrets: Vec::new(),
            files: HashMap::new(),
            filters,
        }
    }

    /// What a string stands for; its faults become problems.
    pub(crate) fn expand_string(
        &mut self,
        written: &str,
        span: &Range<usize>,
    ) -> Option<SpannedStr> {
        if !written.contains('$') {
            return Some(SpannedStr {
                value: written.into(),
                original: None,
                span: span.clone(),
            });
        }
        let mut open = Vec::new();
        let expanded = expand::expand_references(written, |reference| {
            let value = self.resolve_reference(reference, &mut open)?;
            self.secrets.push(value.clone());
            self.secrets.extend(value.lines().map(str::to_owned));
            Ok(value)
        });
        for path in open {
            let message = format!("every user of this machine may read the secret file `{path}`");
            self.problems.add_warning(
                span,
                message,
                "`chmod o-r` would keep it to its owner and group",
            );
        }
        match expanded {
            Ok(value) => Some(SpannedStr {
                value,
                original: Some(written.into()),
                span: span.clone(),
            }),
            Err(faults) => {
                self.secrets.extend(secrets::unexpanded_secrets(written));
                for fault in faults {
                    let span = map_decoded_span(self.text, span, &fault.span);
                    self.problems.add_error(&span, fault.message, fault.help);
                }
                None
            }
        }
    }

    fn resolve_reference(
        &mut self,
        reference: ConfigReference<'_>,
        open: &mut Vec<String>,
    ) -> Result<String, (String, String)> {
        match reference {
            ConfigReference::Variable(name) => (self.env)(name).ok_or_else(|| {
                let help = format!("set it, or write `${{{name}:-default}}`");
                (
                    format!("the environment variable `{name}` is not set"),
                    help,
                )
            }),
            ConfigReference::VariableOrDefault(name, default) => {
                let set = (self.env)(name).filter(|value| !value.is_empty());
                Ok(set.unwrap_or_else(|| default.replace("$$", "$")))
            }
            ConfigReference::File(path) => self.read_secret_file(path, open),
        }
    }

    fn read_secret_file(
        &mut self,
        path: &str,
        open: &mut Vec<String>,
    ) -> Result<String, (String, String)> {
        let help = "a relative path starts at the configuration's folder; at most 64KiB of UTF-8"
            .to_owned();
        let unreadable = |why: &str| {
            (
                format!(
                    "the secret file `{}` cannot be read: {why}",
                    path.escape_debug()
                ),
                help,
            )
        };
        let content = match self.read_file(path) {
            Ok(content) => content,
            Err(why) => return Err(unreadable(&why)),
        };
        let Ok(text) = std::str::from_utf8(&content.bytes) else {
            return Err(unreadable("it is not UTF-8"));
        };
        if content.world_readable {
            open.push(path.escape_debug().to_string());
        }
        let less = text
            .strip_suffix('\n')
            .map(|text| text.strip_suffix('\r').unwrap_or(text));
        Ok(less.unwrap_or(text).to_owned())
    }

    /// A file of at most 64 KiB, read once however often it is named; or why it cannot be read.
    pub(crate) fn read_file(&mut self, path: &str) -> Result<Rc<FileContent>, String> {
        let path = self.folder.join(path);
        if let Some(known) = self.files.get(&path) {
            return known.clone();
        }
        let content = files::read_file(&path, MAX_FILE_BYTES)
            .map(Rc::new)
            .map_err(|error| error.to_string());
        self.files.insert(path, content.clone());
        content
    }

    /// Adds the files that were named.
    pub(crate) fn record_files(&self, read_from: &mut FileFingerprints) {
        for (path, content) in &self.files {
            read_from.record_file(
                path,
                content
                    .as_ref()
                    .map(|content| &*content.bytes)
                    .map_err(String::as_str),
            );
        }
    }

    /// Compiles a filter to see whether it can be.
    pub(crate) fn check_filter(&mut self, text: &SpannedStr) {
        if let Err(error) = self.filters.get_or_compile(&text.value) {
            let span = map_decoded_span(self.text, &text.span, &error.span);
            let (fault, help) = error
                .message
                .split_once("; ")
                .unwrap_or((&error.message, FILTER_HELP));
            self.problems
                .add_error(&span, format!("the filter is not jq: {fault}"), help);
        }
    }
}
