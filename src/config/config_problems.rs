//! Problems while they are collected, in bytes of the file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::domain::SecretSet;

use super::diagnostics::{ConfigProblem, FileLocation, Severity};
use super::span::LineIndex;

/// Everything that was found so far.
#[derive(Debug, Default)]
pub(crate) struct ProblemCollector {
    pending: Vec<PendingProblem>,
}

#[derive(Debug)]
struct PendingProblem {
    severity: Severity,
    kind: ConfigProblemKind,
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

/// Which problems a syntax error may have caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigProblemKind {
    Syntax,
    /// Something that is there is wrong: doubtful on the line of a syntax error.
    InvalidValue,
    /// Something is not there: doubtful wherever the file has a syntax error.
    MissingValue,
}

impl ProblemCollector {
    /// The file is not TOML here.
    pub(crate) fn add_syntax_error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.push_pending(
            Severity::Error,
            ConfigProblemKind::Syntax,
            span,
            message.into(),
            help,
        );
    }

    /// What stands here will not do; `help` says what would.
    pub(crate) fn add_error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push_pending(
            Severity::Error,
            ConfigProblemKind::InvalidValue,
            span.clone(),
            message.into(),
            Some(help.into()),
        );
    }

    /// Something that must be there is not.
    pub(crate) fn add_missing(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push_pending(
            Severity::Error,
            ConfigProblemKind::MissingValue,
            span.clone(),
            message.into(),
            Some(help.into()),
        );
    }

    /// What stands here is allowed but unwise.
    pub(crate) fn add_warning(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push_pending(
            Severity::Warning,
            ConfigProblemKind::InvalidValue,
            span.clone(),
            message.into(),
            Some(help.into()),
        );
    }

    fn push_pending(
        &mut self,
        severity: Severity,
        kind: ConfigProblemKind,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.pending.push(PendingProblem {
            severity,
            kind,
            span,
            message,
            help,
        });
    }

    /// The problems in the order of the file, without those that a syntax error may have caused.
    pub(crate) fn into_problems(
        mut self,
        path: &Path,
        text: &str,
        secrets: &SecretSet,
    ) -> Vec<ConfigProblem> {
        let lines = LineIndex::new(text);
        let broken: Vec<usize> = self
            .pending
            .iter()
            .filter(|d| d.kind == ConfigProblemKind::Syntax)
            .map(|d| lines.locate_span(&d.span).0)
            .collect();
        self.pending.retain(|draft| match draft.kind {
            ConfigProblemKind::Syntax => true,
            ConfigProblemKind::InvalidValue => !broken.contains(&lines.locate_span(&draft.span).0),
            ConfigProblemKind::MissingValue => broken.is_empty(),
        });
        self.pending.sort_by_key(|draft| draft.span.start);
        let file: Arc<str> = path.display().to_string().into();
        self.pending
            .into_iter()
            .map(|draft| draft.into_problem(&file, &lines, secrets))
            .collect()
    }
}

impl PendingProblem {
    fn into_problem(
        self,
        file: &Arc<str>,
        lines: &LineIndex<'_>,
        secrets: &SecretSet,
    ) -> ConfigProblem {
        ConfigProblem {
            severity: self.severity,
            file: Arc::clone(file),
            location: Some(FileLocation::new(lines, &self.span, secrets)),
            message: secrets.redact(&self.message).into_owned(),
            help: self.help.map(|help| secrets.redact(&help).into_owned()),
        }
    }
}
