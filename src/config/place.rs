//! Where things stand in the file: lines and columns, and places inside of quoted strings.

use std::ops::Range;

/// The lines of a text, found by byte.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// Line and column (from 1, in characters) of a span's start, that line's text, and the part of the span that
    /// lies in it.
    pub(super) fn find(&self, span: &Range<usize>) -> (usize, usize, &'t str, Range<usize>) {
        let at = floor(self.text, span.start);
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        let text = self.text[start..end].trim_end_matches('\r');
        let from = (at - start).min(text.len());
        let to = floor(self.text, span.end)
            .saturating_sub(start)
            .clamp(from, text.len());
        (line, text[..from].chars().count() + 1, text, from..to)
    }
}

/// The byte range in the file of `inner`, a byte range of the decoded TOML string whose token is `token` of `text`.
/// The whole token if it is no string.
pub(super) fn inside(text: &str, token: &Range<usize>, inner: &Range<usize>) -> Range<usize> {
    let Some(written) = text.get(token.clone()) else {
        return token.clone();
    };
    let Some(body) = Body::of(written) else {
        return token.clone();
    };
    let (mut start, mut end) = (None, None);
    let mut decoded = 0;
    for piece in body.pieces() {
        if start.is_none() && decoded + piece.decoded > inner.start {
            start = Some(piece.at.start);
        }
        if decoded >= inner.end {
            end = Some(piece.at.start);
            break;
        }
        decoded += piece.decoded;
    }
    let last = body.start + body.written.len();
    let start = start.unwrap_or(last);
    let end = end.unwrap_or(last).max(start);
    token.start + start..token.start + end
}

/// What stands between the quotes of a TOML string.
struct Body<'t> {
    written: &'t str,
    /// Where it begins in the token.
    start: usize,
    escapes: bool,
}

/// A stretch of a body, and how many bytes it is decoded to.
struct Piece {
    at: Range<usize>,
    decoded: usize,
}

impl<'t> Body<'t> {
    fn of(token: &'t str) -> Option<Self> {
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        let quote = quotes
            .into_iter()
            .find(|q| token.starts_with(q) && token.len() >= 2 * q.len())?;
        let mut written = token[quote.len()..].strip_suffix(quote)?;
        if quote.len() == 3 {
            let trimmed = written
                .strip_prefix('\n')
                .or_else(|| written.strip_prefix("\r\n"));
            written = trimmed.unwrap_or(written);
        }
        let start = token.len() - quote.len() - written.len();
        Some(Self {
            written,
            start,
            escapes: quote.starts_with('"'),
        })
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = &self.written[at..];
            let first = rest.chars().next()?;
            let (width, decoded) = if first == '\\' && self.escapes {
                escape(rest)
            } else {
                (first.len_utf8(), first.len_utf8())
            };
            let from = self.start + at;
            at += width;
            Some(Piece {
                at: from..from + width,
                decoded,
            })
        })
    }
}

/// How many bytes an escape takes as it is written and as it is decoded.
fn escape(rest: &str) -> (usize, usize) {
    let Some(kind) = rest[1..].chars().next() else {
        return (1, 0);
    };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ if kind.is_whitespace() => {
            let blank = rest[1..].len() - rest[1..].trim_start().len();
            return (1 + blank, 0);
        }
        _ => return (1 + kind.len_utf8(), 1),
    };
    let hex = rest.get(2..2 + digits).unwrap_or_default();
    let decoded = u32::from_str_radix(hex, 16)
        .ok()
        .and_then(char::from_u32)
        .map_or(0, char::len_utf8);
    (2 + hex.len(), decoded)
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(token: &str, decoded: Range<usize>) -> &str {
        let text = format!("x = {token}\n");
        let found = inside(&text, &(4..4 + token.len()), &decoded);
        &token[found.start - 4..found.end - 4]
    }

    #[test]
    fn every_kind_of_string_is_mapped_exactly() {
        assert_eq!(marked("'ab cd'", 3..5), "cd");
        assert_eq!(marked("\"ab cd\"", 3..5), "cd");
        assert_eq!(marked("'''\nab cd'''", 3..5), "cd");
        assert_eq!(marked("\"\"\"\r\nab cd\"\"\"", 3..5), "cd");
        assert_eq!(marked(r#""a\tb\"c""#, 3..4), r#"\""#);
        assert_eq!(marked(r#""ñ\u00f1x""#, 4..5), "x");
        assert_eq!(marked(r#""ñ\u00f1x""#, 2..4), r"\u00f1");
        assert_eq!(marked("\"\"\"ab\\\n   cd\"\"\"", 2..4), "cd");
    }

    #[test]
    fn an_end_beyond_the_string_is_its_end() {
        assert_eq!(marked("'abc'", 3..3), "");
        assert_eq!(marked("'abc'", 2..90), "c");
        assert_eq!(marked("abc", 0..1), "abc");
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let lines = Lines::new("uno\r\nñandú = 1\n");
        assert_eq!(lines.find(&(0..3)), (1, 1, "uno", 0..3));
        assert_eq!(lines.find(&(15..16)), (2, 9, "ñandú = 1", 10..11));
        assert_eq!(lines.find(&(17..17)), (3, 1, "", 0..0));
        assert_eq!(lines.find(&(99..99)), (3, 1, "", 0..0));
    }
}
