//! Where things stand in the file: lines and columns, and places inside of quoted strings.

use std::ops::Range;

/// The lines of a text, found by byte.
#[derive(Debug)]
pub(crate) struct LineIndex<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// Line and column (from 1, in characters) of a span's start, that line's text, and the part of the span that
    /// lies in it.
    pub(crate) fn locate_span(&self, span: &Range<usize>) -> (usize, usize, &'t str, Range<usize>) {
        let at = floor_char_boundary(self.text, span.start);
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        let text = self.text[start..end].trim_end_matches('\r');
        let from = (at - start).min(text.len());
        let to = floor_char_boundary(self.text, span.end)
            .saturating_sub(start)
            .clamp(from, text.len());
        (line, text[..from].chars().count() + 1, text, from..to)
    }
}

/// The byte range in the file of `inner`, a byte range of the decoded TOML string whose token is `token` of `text`.
/// The whole token if it is no string.
pub(crate) fn map_decoded_span(
    text: &str,
    token: &Range<usize>,
    inner: &Range<usize>,
) -> Range<usize> {
    let Some(written) = text.get(token.clone()) else {
        return token.clone();
    };
    let Some(body) = TomlStringBody::from_token(written) else {
        return token.clone();
    };
    let (mut start, mut end) = (None, None);
    let mut decoded = 0;
    for piece in body.segments() {
        if start.is_none() && decoded + piece.decoded_len > inner.start {
            start = Some(piece.span.start);
        }
        if decoded >= inner.end {
            end = Some(piece.span.start);
            break;
        }
        decoded += piece.decoded_len;
    }
    let last = body.token_offset + body.raw.len();
    let start = start.unwrap_or(last);
    let end = end.unwrap_or(last).max(start);
    token.start + start..token.start + end
}

/// What stands between the quotes of a TOML string.
struct TomlStringBody<'t> {
    raw: &'t str,
    /// Where it begins in the token.
    token_offset: usize,
    has_escapes: bool,
}

/// A stretch of a body, and how many bytes it is decoded to.
struct StringSegment {
    span: Range<usize>,
    decoded_len: usize,
}

impl<'t> TomlStringBody<'t> {
    fn from_token(token: &'t str) -> Option<Self> {
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
            raw: written,
            token_offset: start,
            has_escapes: quote.starts_with('"'),
        })
    }

    fn segments(&self) -> impl Iterator<Item = StringSegment> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = &self.raw[at..];
            let first = rest.chars().next()?;
            let (width, decoded) = if first == '\\' && self.has_escapes {
                escape_lengths(rest)
            } else {
                (first.len_utf8(), first.len_utf8())
            };
            let from = self.token_offset + at;
            at += width;
            Some(StringSegment {
                span: from..from + width,
                decoded_len: decoded,
            })
        })
    }
}

/// How many bytes an escape takes as it is written and as it is decoded.
fn escape_lengths(rest: &str) -> (usize, usize) {
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
fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped_text(token: &str, decoded: Range<usize>) -> &str {
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
