//! Problems of a configuration as people see them: placed, masked, drawn.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::domain::Secrets;

use super::footprint::Footprint;
use super::place::Lines;

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
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The configuration's path, as it was given.
    pub file: Arc<str>,
    /// Where in the file; none when the file as a whole is meant.
    pub place: Option<Place>,
    /// What was read and why it will not do, as a lowercase fragment. Secrets are masked.
    pub message: String,
    /// What is accepted, or the nearest known name. Secrets are masked.
    pub help: Option<String>,
}

/// A place in a file, and the line that stands there with its literal secrets masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    excerpt: String,
    marked: Range<usize>,
}

/// Every problem of a configuration that is refused. Its `Display` is the whole text without colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order of the file; at least one is an error.
    pub problems: Vec<Problem>,
    /// The files that were read: a change of one may mend it.
    pub read_from: Footprint,
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

impl Problem {
    /// The message, the place, the line and a caret; with colours for a terminal if `colour`.
    pub fn draw(&self, colour: bool) -> String {
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
        let Some(place) = &self.place else {
            let group = title.element(Origin::path(&*self.file));
            let help = self.help.iter().map(|help| Level::HELP.message(help));
            return renderer.render(&[group.elements(help)]);
        };
        let caret = AnnotationKind::Primary
            .span(place.marked.clone())
            .label(self.help.as_deref());
        let snippet = Snippet::source(&place.excerpt)
            .line_start(place.line)
            .path(&*self.file)
            .annotation(caret);
        place.correct(renderer.render(&[title.element(snippet)]))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl Place {
    pub(super) fn new(lines: &Lines<'_>, span: &Range<usize>, secrets: &Secrets) -> Self {
        let (line, column, text, marked) = lines.find(span);
        let (excerpt, marked) = mask(text, &marked, secrets);
        Self {
            line,
            column,
            excerpt,
            marked,
        }
    }

    /// Puts the file's true column where masking has moved the caret.
    fn correct(&self, drawn: String) -> String {
        let shown = self.excerpt[..self.marked.start].chars().count() + 1;
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
fn mask(line: &str, marked: &Range<usize>, secrets: &Secrets) -> (String, Range<usize>) {
    let mut shown = String::with_capacity(line.len());
    let (mut start, mut end) = (None, None);
    let mut from = 0;
    for secret in secrets.spans(line) {
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

impl Report {
    /// A report of one problem of the file as a whole.
    pub(super) fn of_file(path: &Path, message: String, help: Option<String>) -> Self {
        let file = path.display().to_string().into();
        let problem = Problem {
            severity: Severity::Error,
            file,
            place: None,
            message,
            help,
        };
        Self {
            problems: vec![problem],
            read_from: Footprint::default(),
        }
    }

    /// The same of a configuration that was read from these files.
    pub(super) fn read_from(self, read_from: Footprint) -> Self {
        Self { read_from, ..self }
    }

    /// How many problems have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// Every problem drawn, and the count at the end; with colours for a terminal if `colour`.
    pub fn draw(&self, colour: bool) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&problem.draw(colour));
            text.push('\n');
        }
        text + &self.summary()
    }

    /// `2 errors; nothing was started`, as the last line says it.
    pub fn summary(&self) -> String {
        let errors = counted(self.count(Severity::Error), "error");
        match self.count(Severity::Warning) {
            0 => format!("{errors}; nothing was started"),
            warnings => format!(
                "{errors}, {}; nothing was started",
                counted(warnings, "warning")
            ),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(false))
    }
}

impl std::error::Error for Report {}

/// `1 error`, `2 errors`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problems::Problems;

    fn drawn(text: &str, span: Range<usize>, secret: &str) -> String {
        let mut problems = Problems::default();
        problems.error(&span, "no", "yes");
        let secrets = Secrets::new([secret.to_owned()]);
        problems.finish(Path::new("c.toml"), text, &secrets)[0].draw(false)
    }

    fn parts(text: &str, marked: Range<usize>, secret: &str) -> (String, String) {
        let (shown, place) = mask(text, &marked, &Secrets::new([secret.to_owned()]));
        let part = shown[place].to_owned();
        (shown, part)
    }

    #[test]
    fn marks_move_with_what_they_mark() {
        let parts = |marked| parts("a = 'topsecret', b = 5", marked, "topsecret");
        assert_eq!(parts(0..1).1, "a");
        assert_eq!(parts(4..15).1, "'***'");
        assert_eq!(parts(5..14).1, "***");
        assert_eq!(parts(7..9).1, "***");
        assert_eq!(parts(17..18).1, "b");
        assert_eq!(parts(9..18), ("a = '***', b = 5".into(), "***', b".into()));
        assert_eq!(parts(22..22).1, "");
    }

    #[test]
    fn the_column_is_the_files_even_behind_a_secret() {
        let text = drawn("a = 'topsecret', b = 5", 17..18, "topsecret");
        assert!(text.contains("--> c.toml:1:18\n"), "{text}");
        assert!(
            text.contains("1 | a = '***', b = 5\n  |            ^ yes"),
            "{text}"
        );
    }

    #[test]
    fn the_last_line_counts() {
        let problem = |severity| Problem {
            severity,
            file: "f".into(),
            place: None,
            message: "m".into(),
            help: None,
        };
        let report = |problems| {
            Report {
                problems,
                read_from: Footprint::default(),
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
