//! Problems of a configuration as people see them: placed, masked, drawn.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::domain::SecretSet;

use super::fingerprint::FileFingerprints;
use super::span::LineIndex;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// Allowed but unwise.
    Warning,
}

/// One problem of a configuration. Its `Display` is one line for logs; [`Problem::draw`] shows the line and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// How bad it is.
    pub severity: Severity,
    /// The configuration's path, as it was given.
    pub file: Arc<str>,
    /// Where in the file; none when the file as a whole is meant.
    pub location: Option<FileLocation>,
    /// What was read and why it will not do, as a lowercase fragment. Secrets are masked.
    pub message: String,
    /// What is accepted, or the nearest known name. Secrets are masked.
    pub help: Option<String>,
}

/// A place in a file, and the line that stands there with its literal secrets masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLocation {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    excerpt: String,
    highlight: Range<usize>,
}

/// Every problem of a configuration that is refused. Its `Display` is the whole text without colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the file; at least one is an error.
    pub problems: Vec<ConfigProblem>,
    /// The files that were read: a change of one may mend it.
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
    /// The message, the place, the line and a caret; with colours for a terminal if `colour`.
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
        let Some(place) = &self.location else {
            let group = title.element(Origin::path(&*self.file));
            let help = self.help.iter().map(|help| Level::HELP.message(help));
            return renderer.render(&[group.elements(help)]);
        };
        let caret = AnnotationKind::Primary
            .span(place.highlight.clone())
            .label(self.help.as_deref());
        let snippet = Snippet::source(&place.excerpt)
            .line_start(place.line)
            .path(&*self.file)
            .annotation(caret);
        place.restore_column(renderer.render(&[title.element(snippet)]))
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(place) = &self.location {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl FileLocation {
    pub(super) fn new(lines: &LineIndex<'_>, span: &Range<usize>, secrets: &SecretSet) -> Self {
        let (line, column, text, marked) = lines.locate_span(span);
        let (excerpt, marked) = redact_line(text, &marked, secrets);
        Self {
            line,
            column,
            excerpt,
            highlight: marked,
        }
    }

    /// Puts the file's true column where masking has moved the caret.
    fn restore_column(&self, drawn: String) -> String {
        let shown = self.excerpt[..self.highlight.start].chars().count() + 1;
        if shown == self.column {
            return drawn;
        }
        drawn.replacen(
            &format!(":{}:{shown}", self.line),
            &format!(":{}:{}", self.line, self.column),
            1,
        )
    }
}

/// `line` with its secrets masked, and `marked` moved along with what it marks.
fn redact_line(line: &str, marked: &Range<usize>, secrets: &SecretSet) -> (String, Range<usize>) {
    let mut shown = String::with_capacity(line.len());
    let (mut start, mut end) = (None, None);
    let mut from = 0;
    for secret in secrets.secret_spans(line) {
        let at = |place: usize, base: usize| (place < secret.start).then(|| base + place - from);
        start = start.or_else(|| at(marked.start, shown.len()));
        end = end.or_else(|| at(marked.end, shown.len()));
        shown.push_str(&line[from..secret.start]);
        // What is marked within a secret is marked as a whole.
        start = start.or_else(|| (marked.start < secret.end).then_some(shown.len()));
        shown.push_str("***");
        end = end.or_else(|| (marked.end <= secret.end).then_some(shown.len()));
        from = secret.end;
    }
    let start = start.unwrap_or_else(|| shown.len() + marked.start - from);
    let end = end.unwrap_or_else(|| shown.len() + marked.end - from);
    shown.push_str(&line[from..]);
    (shown, start..end.max(start))
}

impl ConfigError {
    /// A report of one problem of the file as a whole.
    pub(super) fn for_file(path: &Path, message: String, help: Option<String>) -> Self {
        let file = path.display().to_string().into();
        let problem = ConfigProblem {
            severity: Severity::Error,
            file,
            location: None,
            message,
            help,
        };
        Self {
            problems: vec![problem],
            fingerprints: FileFingerprints::default(),
        }
    }

    /// The same of a configuration that was read from these files.
    pub(super) fn with_fingerprints(self, read_from: FileFingerprints) -> Self {
        Self {
            fingerprints: read_from,
            ..self
        }
    }

    /// How many problems have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// Every problem drawn, and the count at the end; with colours for a terminal if `colour`.
    pub fn render_text(&self, colour: bool) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&problem.render_text(colour));
            text.push('\n');
        }
        text + &self.summary()
    }

    /// `2 errors; nothing was started`, as the last line says it.
    pub fn summary(&self) -> String {
        let errors = pluralize(self.count(Severity::Error), "error");
        match self.count(Severity::Warning) {
            0 => format!("{errors}; nothing was started"),
            warnings => format!(
                "{errors}, {}; nothing was started",
                pluralize(warnings, "warning")
            ),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render_text(false))
    }
}

impl std::error::Error for ConfigError {}

/// `1 error`, `2 errors`.
fn pluralize(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::config_problems::ProblemCollector;
    use super::*;

    fn render_problem(text: &str, span: Range<usize>, secret: &str) -> String {
        let mut problems = ProblemCollector::default();
        problems.add_error(&span, "no", "yes");
        let secrets = SecretSet::new([secret.to_owned()]);
        problems.into_problems(Path::new("c.toml"), text, &secrets)[0].render_text(false)
    }

    fn redacted_parts(text: &str, marked: Range<usize>, secret: &str) -> (String, String) {
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
    fn column_ignores_redaction() {
        let text = render_problem("a = 'topsecret', b = 5", 17..18, "topsecret");
        assert!(text.contains("--> c.toml:1:18\n"), "{text}");
        assert!(
            text.contains("1 | a = '***', b = 5\n  |            ^ yes"),
            "{text}"
        );
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
