//! The collector of problems. A problem has a span of the file until the end; then it gets its line and column.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::domain::SecretSet;

use super::diagnostics::{ConfigProblem, FileLocation, Severity};
use super::span::{LineIndex, Span};

/// Why a value is refused, before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueError {
    /// What was read and why it is invalid.
    pub(super) message: String,
    /// What is accepted.
    pub(super) help: String,
}

/// The result of a check that refuses a value.
pub(super) fn refuse<T>(
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, ValueError> {
    let (message, help) = (message.into(), help.into());
    Err(ValueError { message, help })
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct ProblemCollector {
    pending: Vec<PendingProblem>,
}

#[derive(Debug, PartialEq, Eq)]
struct PendingProblem {
    kind: ConfigProblemKind,
    span: Span,
    message: String,
    help: Option<String>,
}

/// What a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigProblemKind {
    /// The file is not TOML at this place.
    Syntax,
    /// A value or a key is invalid.
    Invalid,
    /// A required value is absent.
    Missing,
    /// A value is valid but probably a mistake.
    Warning,
}

impl ProblemCollector {
    pub(super) fn add(
        &mut self,
        kind: ConfigProblemKind,
        span: &Span,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.pending.push(PendingProblem {
            kind,
            span: span.clone(),
            message: message.into(),
            help,
        });
    }

    /// The problems in the order of the file, secrets redacted. Left out are warnings about an invalid value, and what a
    /// syntax error may have caused: the problems on its line, and everywhere those about absent values.
    pub(super) fn into_problems(
        mut self,
        path: &Path,
        text: &str,
        secrets: &SecretSet,
    ) -> Vec<ConfigProblem> {
        let lines = LineIndex::new(text);
        let line_of = |problem: &PendingProblem| lines.locate_span(&problem.span).0;
        let of_kind = |kind| {
            self.pending
                .iter()
                .filter(move |problem| problem.kind == kind)
        };
        // After an error of syntax the parser guesses: what it made of that line would mislead.
        let broken: Vec<usize> = of_kind(ConfigProblemKind::Syntax).map(line_of).collect();
        let invalid = of_kind(ConfigProblemKind::Invalid).map(|problem| problem.span.clone());
        let invalid: HashSet<Span> = invalid.collect();
        self.pending.retain(|problem| match problem.kind {
            ConfigProblemKind::Syntax => true,
            ConfigProblemKind::Missing => broken.is_empty(),
            ConfigProblemKind::Invalid => !broken.contains(&line_of(problem)),
            ConfigProblemKind::Warning => {
                !invalid.contains(&problem.span) && !broken.contains(&line_of(problem))
            }
        });
        // The sort is stable: problems at one place keep the order of their discovery.
        self.pending.sort_by_key(|problem| problem.span.start);
        // Each provider that inherits an invalid value reports it.
        self.pending.dedup();
        let file: Arc<str> = path.display().to_string().into();
        let located = self.pending.into_iter().map(|problem| ConfigProblem {
            severity: match problem.kind {
                ConfigProblemKind::Warning => Severity::Warning,
                _ => Severity::Error,
            },
            file: Arc::clone(&file),
            location: Some(FileLocation::new(&lines, &problem.span, secrets)),
            message: secrets.redact(&problem.message).into_owned(),
            help: problem.help.map(|help| secrets.redact(&help).into_owned()),
        });
        located.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_ignores_redaction() {
        let mut problems = ProblemCollector::default();
        problems.add(
            ConfigProblemKind::Invalid,
            &(17..18),
            "no",
            Some("yes".into()),
        );
        let secrets = SecretSet::new(["topsecret".to_owned()]);
        let text = "a = 'topsecret', b = 5";
        let problems = problems.into_problems(Path::new("c.toml"), text, &secrets);
        let text = problems[0].render_text(false);
        assert!(text.contains("--> c.toml:1:18\n"), "{text}");
        let line = "1 | a = '***', b = 5\n  |            ^ yes";
        assert!(text.contains(line), "{text}");
    }
}
