//! Places in the configuration file: spans of bytes, lines and columns, and values with their place.

use std::fmt;
use std::ops::Range;

use crate::domain::RequestText;
use crate::text::quote;

/// A range of bytes of the file.
pub(super) type Span = Range<usize>;

/// A value and its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spanned<'t, T> {
    pub(super) value: T,
    pub(super) span: &'t Span,
}

/// A text with its references expanded. Its `Display` is the text as written, never the value of a reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SpannedStr {
    pub(super) value: String,
    /// The text as written, if that differs from the value.
    pub(super) original: Option<String>,
    /// The text with its references, if some are resolved when a request is sent. The value has examples for them.
    pub(super) request_text: Option<RequestText>,
    pub(super) span: Span,
}

impl SpannedStr {
    /// A text without references.
    pub(super) fn literal(text: &str, span: Span) -> Self {
        Self {
            value: text.to_owned(),
            original: None,
            request_text: None,
            span,
        }
    }

    /// The text of a request.
    pub(super) fn to_request_text(&self) -> RequestText {
        let literal = || RequestText::from(self.value.as_str());
        self.request_text.clone().unwrap_or_else(literal)
    }

    /// The literal parts of the value: all of it without the examples of dates.
    pub(super) fn literals(&self) -> Vec<&str> {
        match &self.request_text {
            None => vec![&self.value],
            Some(text) => text.literals().collect(),
        }
    }

    pub(super) fn as_written(&self) -> &str {
        self.original.as_deref().unwrap_or(&self.value)
    }
}

impl fmt::Display for SpannedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(self.as_written()))
    }
}

/// The lines of a text, found by byte.
#[derive(Debug)]
pub(super) struct LineIndex<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    /// Line and column (from 1, in characters) of the start of `span`, the text of that line, and the part of the
    /// span that lies in it.
    pub(super) fn locate_span(&self, span: &Span) -> (usize, usize, &'t str, Span) {
        let at = floor_char_boundary(self.text, span.start);
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        let text = self.text[start..end].trim_end_matches('\r');
        let from = (at - start).min(text.len());
        // A span may continue on the next lines.
        let to = floor_char_boundary(self.text, span.end).saturating_sub(start);
        let to = to.clamp(from, text.len());
        (line, text[..from].chars().count() + 1, text, from..to)
    }
}

/// The place in the file of `inner`, a byte range of the decoded TOML string whose token is at `token` in `text`. The
/// whole token if it is not a string.
pub(super) fn map_decoded_span(text: &str, token: &Span, inner: &Span) -> Span {
    let Some((offset, body, has_escapes)) = text.get(token.clone()).and_then(string_body) else {
        return token.clone();
    };
    let (mut start, mut end) = (None, None);
    let (mut at, mut decoded) = (0, 0);
    while let Some(first) = body[at..].chars().next() {
        let (width, decoded_width) = if first == '\\' && has_escapes {
            escape_widths(&body[at..])
        } else {
            (first.len_utf8(), first.len_utf8())
        };
        // An escape is one unit: a place inside of its character is the place of the escape.
        if decoded + decoded_width > inner.start {
            start = start.or(Some(at));
        }
        if decoded >= inner.end {
            end = Some(at);
            break;
        }
        at += width;
        decoded += decoded_width;
    }
    let start = start.unwrap_or(body.len());
    let end = end.unwrap_or(body.len()).max(start);
    let base = token.start + offset;
    base + start..base + end
}

/// The text between the quotation marks of a TOML string: its offset in the token, the text, and whether `\` begins an
/// escape in it. `None` if the token is not a string.
fn string_body(token: &str) -> Option<(usize, &str, bool)> {
    let marks = ["\"\"\"", "'''", "\"", "'"].into_iter();
    let mut marks = marks.filter(|mark| token.starts_with(mark) && token.len() >= 2 * mark.len());
    let mark = marks.next()?;
    let mut body = token[mark.len()..].strip_suffix(mark)?;
    if mark.len() == 3 {
        // TOML drops a line break directly after the opening marks.
        let trimmed = body.strip_prefix('\n').or(body.strip_prefix("\r\n"));
        body = trimmed.unwrap_or(body);
    }
    let offset = token.len() - mark.len() - body.len();
    Some((offset, body, mark.starts_with('"')))
}

/// How many bytes the escape at the beginning of `rest` takes as written and as decoded.
fn escape_widths(rest: &str) -> (usize, usize) {
    let Some(kind) = rest[1..].chars().next() else {
        return (1, 0);
    };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        // An escaped line break takes the white space after it along.
        _ if kind.is_whitespace() => {
            let blank = rest[1..].len() - rest[1..].trim_start().len();
            return (1 + blank, 0);
        }
        _ => return (1 + kind.len_utf8(), 1),
    };
    let hex = rest.get(2..2 + digits).unwrap_or_default();
    let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
    (2 + hex.len(), code.map_or(0, char::len_utf8))
}

/// The nearest character boundary at or before `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut before = (0..=at.min(text.len())).rev();
    before.find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped_text(token: &str, decoded: Span) -> &str {
        let text = format!("x = {token}\n");
        let found = map_decoded_span(&text, &(4..4 + token.len()), &decoded);
        &token[found.start - 4..found.end - 4]
    }

    #[test]
    fn string_spans_map_exactly() {
        assert_eq!(mapped_text("'ab cd'", 3..5), "cd");
        assert_eq!(mapped_text("\"ab cd\"", 3..5), "cd");
        assert_eq!(mapped_text("'''\nab cd'''", 3..5), "cd");
        assert_eq!(mapped_text("\"\"\"\r\nab cd\"\"\"", 3..5), "cd");
        assert_eq!(mapped_text(r#""a\tb\"c""#, 3..4), r#"\""#);
        assert_eq!(mapped_text(r#""ñ\u00f1x""#, 4..5), "x");
        assert_eq!(mapped_text(r#""ñ\u00f1x""#, 2..4), r"\u00f1");
        assert_eq!(mapped_text("\"\"\"ab\\\n   cd\"\"\"", 2..4), "cd");
    }

    #[test]
    fn span_end_is_clamped() {
        assert_eq!(mapped_text("'abc'", 3..3), "");
        assert_eq!(mapped_text("'abc'", 2..90), "c");
        assert_eq!(mapped_text("abc", 0..1), "abc");
    }

    #[test]
    fn columns_count_characters() {
        let lines = LineIndex::new("uno\r\nñandú = 1\n");
        assert_eq!(lines.locate_span(&(0..3)), (1, 1, "uno", 0..3));
        assert_eq!(lines.locate_span(&(15..16)), (2, 9, "ñandú = 1", 10..11));
        assert_eq!(lines.locate_span(&(17..17)), (3, 1, "", 0..0));
        assert_eq!(lines.locate_span(&(99..99)), (3, 1, "", 0..0));
    }
}
