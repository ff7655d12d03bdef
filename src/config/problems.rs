//! Problems while they are collected, in bytes of the file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::domain::Secrets;

use super::diagnostics::{Place, Problem, Severity};
use super::place::Lines;

/// Everything that was found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    drafts: Vec<Draft>,
}

#[derive(Debug)]
struct Draft {
    severity: Severity,
    kind: Kind,
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

/// Which problems a syntax error may have caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syntax,
    /// Something that is there is wrong: doubtful on the line of a syntax error.
    Wrong,
    /// Something is not there: doubtful wherever the file has a syntax error.
    Absent,
}

impl Problems {
    /// The file is not TOML here.
    pub(super) fn syntax(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.add(Severity::Error, Kind::Syntax, span, message.into(), help);
    }

    /// What stands here will not do; `help` says what would.
    pub(super) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(
            Severity::Error,
            Kind::Wrong,
            span.clone(),
            message.into(),
            Some(help.into()),
        );
    }

    /// Something that must be there is not.
    pub(super) fn absent(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(
            Severity::Error,
            Kind::Absent,
            span.clone(),
            message.into(),
            Some(help.into()),
        );
    }

    /// What stands here is allowed but unwise.
    pub(super) fn warn(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(
            Severity::Warning,
            Kind::Wrong,
            span.clone(),
            message.into(),
            Some(help.into()),
        );
    }

    fn add(
        &mut self,
        severity: Severity,
        kind: Kind,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.drafts.push(Draft {
            severity,
            kind,
            span,
            message,
            help,
        });
    }

    /// The problems in the order of the file, without those that a syntax error may have caused.
    pub(super) fn finish(mut self, path: &Path, text: &str, secrets: &Secrets) -> Vec<Problem> {
        let lines = Lines::new(text);
        let broken: Vec<usize> = self
            .drafts
            .iter()
            .filter(|d| d.kind == Kind::Syntax)
            .map(|d| lines.find(&d.span).0)
            .collect();
        self.drafts.retain(|draft| match draft.kind {
            Kind::Syntax => true,
            Kind::Wrong => !broken.contains(&lines.find(&draft.span).0),
            Kind::Absent => broken.is_empty(),
        });
        self.drafts.sort_by_key(|draft| draft.span.start);
        let file: Arc<str> = path.display().to_string().into();
        self.drafts
            .into_iter()
            .map(|draft| draft.place(&file, &lines, secrets))
            .collect()
    }
}

impl Draft {
    fn place(self, file: &Arc<str>, lines: &Lines<'_>, secrets: &Secrets) -> Problem {
        Problem {
            severity: self.severity,
            file: Arc::clone(file),
            place: Some(Place::new(lines, &self.span, secrets)),
            message: secrets.mask(&self.message).into_owned(),
            help: self.help.map(|help| secrets.mask(&help).into_owned()),
        }
    }
}
