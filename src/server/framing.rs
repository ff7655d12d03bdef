//! Detects ambiguous framing (request smuggling) in the raw bytes of request heads.
//!
//! hyper accepts a bare LF as a line end, keeps one of two equal `Content-Length` fields, and drops
//! `Content-Length` beside `Transfer-Encoding`. A proxy in front of the server may see two requests
//! in such bytes where hyper sees one, so each of them is rejected (RFC 9112 §11.2). hyper also
//! removes a target's fragment, which no request may have. All bytes of a connection are heads: the
//! connection closes after a request with a body.

use memchr::memchr;

/// A problem in the framing of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FramingProblem {
    /// A line ends in LF without CR.
    BareLf = 1,
    /// More than one `Content-Length` or `Transfer-Encoding`, or both of them.
    AmbiguousLength = 2,
    /// The target has a fragment.
    TargetFragment = 3,
}

/// Number of bytes kept of a line that spans several reads. Longer than the longest field name that
/// matters.
const MAX_PREFIX: usize = 32;

/// Scans the heads of one connection line by line, independent of how the bytes are split into
/// reads.
#[derive(Debug, Default)]
pub(super) struct FramingScanner {
    /// Number of complete heads.
    finished_heads: u32,
    /// Number of complete lines of the current head.
    lines_seen: u32,
    content_lengths: u8,
    transfer_encodings: u8,
    target: TargetScan,
    /// The current line, if its end has not been read.
    partial_line: PartialLine,
}

/// State of the request target in a head's first line.
#[derive(Debug, Default)]
struct TargetScan {
    /// Whether the space before the target has been read.
    has_begun: bool,
    has_fragment: bool,
}

/// A line whose end has not been read.
#[derive(Debug, Default)]
struct PartialLine {
    prefix: [u8; MAX_PREFIX],
    /// Length of the whole line so far, in bytes.
    length: usize,
    last_byte: u8,
}

impl FramingScanner {
    /// Scans the next bytes. Returns the first problem in them and the number of its head (from 0).
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Option<(u32, FramingProblem)> {
        let mut first_problem = None;
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let head = self.finished_heads;
            self.scan_target(&rest[..end]);
            let problem = if self.partial_line.length == 0 {
                self.check_line(&rest[..end], end, rest[..end].last().copied())
            } else {
                self.partial_line.append_bytes(&rest[..end]);
                let PartialLine {
                    prefix,
                    length,
                    last_byte,
                } = std::mem::take(&mut self.partial_line);
                self.check_line(&prefix[..length.min(MAX_PREFIX)], length, Some(last_byte))
            };
            first_problem = first_problem.or(problem.map(|problem| (head, problem)));
            rest = &rest[end + 1..];
        }
        self.scan_target(rest);
        self.partial_line.append_bytes(rest);
        first_problem
    }

    /// Searches a piece of a head's first line for a fragment.
    fn scan_target(&mut self, piece: &[u8]) {
        if self.lines_seen > 0 {
            return;
        }
        let target_start = if self.target.has_begun {
            Some(0)
        } else {
            memchr(b' ', piece)
        };
        if let Some(start) = target_start {
            self.target.has_begun = true;
            self.target.has_fragment |= memchr(b'#', &piece[start..]).is_some();
        }
    }

    /// Checks one line without its LF, given by its first bytes, its length and its last byte.
    fn check_line(
        &mut self,
        prefix: &[u8],
        length: usize,
        last_byte: Option<u8>,
    ) -> Option<FramingProblem> {
        let target = std::mem::take(&mut self.target);
        if last_byte != Some(b'\r') {
            self.lines_seen += 1;
            return Some(FramingProblem::BareLf);
        }
        if length == 1 {
            return self.end_head();
        }
        self.lines_seen += 1;
        match prefix[0] {
            b'c' | b'C' if has_field_name(prefix, b"content-length:") => {
                self.content_lengths = self.content_lengths.saturating_add(1);
            }
            b't' | b'T' if has_field_name(prefix, b"transfer-encoding:") => {
                self.transfer_encodings = self.transfer_encodings.saturating_add(1);
            }
            _ => {}
        }
        target
            .has_fragment
            .then_some(FramingProblem::TargetFragment)
    }

    /// Ends a head. An empty line before a head is skipped, as hyper does (RFC 9112 §2.2).
    fn end_head(&mut self) -> Option<FramingProblem> {
        if self.lines_seen == 0 {
            return None;
        }
        let lengths = usize::from(self.content_lengths) + usize::from(self.transfer_encodings);
        self.finished_heads = self.finished_heads.wrapping_add(1);
        (
            self.lines_seen,
            self.content_lengths,
            self.transfer_encodings,
        ) = (0, 0, 0);
        (lengths > 1).then_some(FramingProblem::AmbiguousLength)
    }
}

impl PartialLine {
    fn append_bytes(&mut self, bytes: &[u8]) {
        let Some(last_byte) = bytes.last() else {
            return;
        };
        if let Some(free) = self.prefix.get_mut(self.length..) {
            let count = free.len().min(bytes.len());
            free[..count].copy_from_slice(&bytes[..count]);
        }
        self.length += bytes.len();
        self.last_byte = *last_byte;
    }
}

fn has_field_name(line: &[u8], name: &[u8]) -> bool {
    line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_whole(text: &str) -> Option<(u32, FramingProblem)> {
        FramingScanner::default().scan(text.as_bytes())
    }

    fn scan_by_byte(text: &str) -> Option<(u32, FramingProblem)> {
        let mut scanner = FramingScanner::default();
        let mut problems = text
            .as_bytes()
            .chunks(1)
            .filter_map(|byte| scanner.scan(byte));
        problems.next()
    }

    #[test]
    fn problems_are_found_in_any_chunks() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\nHost: a\r\n\r\n", "y".repeat(100));
        let table = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", None),
            (
                "GET / HTTP/1.1\nHost: a\r\n\r\n",
                Some((0, FramingProblem::BareLf)),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\n\n",
                Some((0, FramingProblem::BareLf)),
            ),
            (
                "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nA: b\n\r\n",
                Some((1, FramingProblem::BareLf)),
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 0\r\nContent-Length: 0\r\n\r\n",
                Some((0, FramingProblem::AmbiguousLength)),
            ),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                Some((0, FramingProblem::AmbiguousLength)),
            ),
            (
                "GET / HTTP/1.1\r\nTE: a\r\ntransfer-encoding: x\r\ntransfer-encoding: y\r\n\r\n",
                Some((0, FramingProblem::AmbiguousLength)),
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                None,
            ),
            (&long, Some((0, FramingProblem::BareLf))),
            (
                "GET /a#b HTTP/1.1\r\n\r\n",
                Some((0, FramingProblem::TargetFragment)),
            ),
            (
                "G#T /a HTTP/1.1\r\nX: # #\r\n\r\n\r\nGET # HTTP/1.1\r\n\r\n",
                Some((1, FramingProblem::TargetFragment)),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(scan_whole(text), expected, "{text:?}");
            assert_eq!(scan_by_byte(text), expected, "{text:?}");
        }
    }
}
