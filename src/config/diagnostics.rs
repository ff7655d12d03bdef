//! The problems of a configuration as users see them: located, redacted, with the line and a caret.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::domain::SecretSet;

use super::fingerprint::FileFingerprints;
use super::line_secrets::line_secrets;
use super::span::{LineIndex, Span};

/// How severe a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is accepted, but the value is probably a mistake.
    Warning,
}

/// One problem of a configuration. Its `Display` is one line for logs; [`ConfigProblem::render_text`] adds the line of
/// the file and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Whether the configuration is refused.
    pub severity: Severity,
    /// Path of the configuration, as given.
    pub file: Arc<str>,
    /// Place in the file. `None` if the problem concerns the file as a whole.
    pub location: Option<FileLocation>,
    /// What was read and why it is invalid, as a lowercase fragment. Secrets are redacted.
    pub message: String,
    /// What is accepted, or the nearest known name. Secrets are redacted.
    pub help: Option<String>,
}

/// A place in a file, and its line with the secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLocation {
    /// Line number, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    excerpt: String,
    /// The byte range of the excerpt that the caret marks.
    highlight: Span,
}

/// All problems of a refused configuration. Its `Display` is the complete text without colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems in the order of the file; at least one is an error.
    pub problems: Vec<ConfigProblem>,
    /// The files that were read. A change of one may fix the configuration.
    pub fingerprints: FileFingerprints,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl ConfigProblem {
    /// The message, the place, the line and a caret; with terminal colours if `colour`.
    pub fn render_text(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&self.message);
        let Some(location) = &self.location else {
            let group = title.element(Origin::path(&*self.file));
            let help = self.help.iter().map(|help| Level::HELP.message(help));
            return renderer.render(&[group.elements(help)]);
        };
        let caret = AnnotationKind::Primary.span(location.highlight.clone());
        let snippet = Snippet::source(&location.excerpt)
            .line_start(location.line)
            .path(&*self.file)
            .annotation(caret.label(self.help.as_deref()));
        location.restore_column(renderer.render(&[title.element(snippet)]))
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(location) = &self.location {
            write!(f, ":{}:{}", location.line, location.column)?;
        }
        write!(f, ": {}", self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl FileLocation {
    pub(super) fn new(lines: &LineIndex<'_>, span: &Span, secrets: &SecretSet) -> Self {
        let (line, column, text, highlight) = lines.locate_span(span);
        let (excerpt, highlight) = redact_line(text, &highlight, secrets);
        Self {
            line,
            column,
            excerpt,
            highlight,
        }
    }

    /// Puts the column of the file where the renderer counted in the redacted line.
    fn restore_column(&self, rendered: String) -> String {
        let (line, column) = (self.line, self.column);
        let counted = self.excerpt[..self.highlight.start].chars().count() + 1;
        if counted == column {
            return rendered;
        }
        rendered.replacen(
            &format!(":{line}:{counted}"),
            &format!(":{line}:{column}"),
            1,
        )
    }
}

/// `line` with its secrets redacted, and the range of the result that corresponds to `marked`. A secret that is marked
/// in part is marked as a whole.
fn redact_line(line: &str, marked: &Span, secrets: &SecretSet) -> (String, Span) {
    let mut shown = String::with_capacity(line.len());
    let (mut start, mut end) = (None, None);
    let mut copied = 0;
    for secret in secret_parts(line, secrets) {
        // Positions before the secret move with the text; positions inside it move to its edges.
        let moved = |at: usize, len: usize| (at < secret.start).then(|| len + at - copied);
        start = start.or_else(|| moved(marked.start, shown.len()));
        end = end.or_else(|| moved(marked.end, shown.len()));
        shown.push_str(&line[copied..secret.start]);
        start = start.or_else(|| (marked.start < secret.end).then_some(shown.len()));
        shown.push_str("***");
        end = end.or_else(|| (marked.end <= secret.end).then_some(shown.len()));
        copied = secret.end;
    }
    let start = start.unwrap_or_else(|| shown.len() + marked.start - copied);
    let end = end.unwrap_or_else(|| shown.len() + marked.end - copied);
    shown.push_str(&line[copied..]);
    (shown, start..end.max(start))
}

/// The known secrets in `line` and what looks like one, in order, overlapping ones merged.
fn secret_parts(line: &str, secrets: &SecretSet) -> Vec<Span> {
    let mut spans = secrets.secret_spans(line);
    spans.extend(line_secrets(line));
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| span.start);
    spans.dedup_by(|next, last| {
        let overlaps = next.start < last.end;
        if overlaps {
            last.end = last.end.max(next.end);
        }
        overlaps
    });
    spans
}

impl ConfigError {
    /// The error of a file that cannot be read or is no text.
    pub(super) fn for_file(path: &Path, message: String, help: &str) -> Self {
        let problem = ConfigProblem {
            severity: Severity::Error,
            file: path.display().to_string().into(),
            location: None,
            message,
            help: Some(help.into()),
        };
        Self {
            problems: vec![problem],
            fingerprints: FileFingerprints::default(),
        }
    }

    /// The number of problems with this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// Every problem with its line, and the counts at the end; with terminal colours if `colour`.
    pub fn render_text(&self, colour: bool) -> String {
        let problems = self
            .problems
            .iter()
            .map(|problem| problem.render_text(colour) + "\n");
        problems.collect::<String>() + &self.summary()
    }

    /// The counts: `2 errors; nothing was started`.
    pub fn summary(&self) -> String {
        let counted = |severity: Severity| {
            let count = self.count(severity);
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{plural}", severity.as_str()))
        };
        let counts = [Severity::Error, Severity::Warning]
            .into_iter()
            .filter_map(counted);
        format!(
            "{}; nothing was started",
            counts.collect::<Vec<_>>().join(", ")
        )
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render_text(false))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted_parts(text: &str, marked: Span, secret: &str) -> (String, String) {
        let (shown, place) = redact_line(text, &marked, &SecretSet::new([secret.to_owned()]));
        let part = shown[place].to_owned();
        (shown, part)
    }

    #[test]
    fn highlight_moves_with_redaction() {
        let parts = |marked| redacted_parts("a = 'topsecret', b = 5", marked, "topsecret");
        assert_eq!(parts(0..1).1, "a");
        assert_eq!(parts(4..15).1, "'***'");
        assert_eq!(parts(5..14).1, "***");
        assert_eq!(parts(7..9).1, "***");
        assert_eq!(parts(17..18).1, "b");
        assert_eq!(parts(9..18), ("a = '***', b = 5".into(), "***', b".into()));
        assert_eq!(parts(22..22).1, "");
    }

    #[test]
    fn summary_counts_problems() {
        let problem = |severity| ConfigProblem {
            severity,
            file: "f".into(),
            location: None,
            message: "m".into(),
            help: None,
        };
        let report = |problems| {
            ConfigError {
                problems,
                fingerprints: FileFingerprints::default(),
            }
            .summary()
        };
        assert_eq!(
            report(vec![problem(Severity::Error)]),
            "1 error; nothing was started"
        );
        let all = vec![
            problem(Severity::Error),
            problem(Severity::Error),
            problem(Severity::Warning),
        ];
        assert_eq!(report(all), "2 errors, 1 warning; nothing was started");
    }
}
