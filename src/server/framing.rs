//! What the HTTP library does not tell of a request's head, read off the raw bytes as they pass.
//!
//! The library takes a bare LF for a line end, keeps one of two equal `Content-Length`s, and drops `Content-Length`
//! beside `Transfer-Encoding`. A proxy in front may see two requests where we see one, so each of these is refused. It
//! also cuts off a target's fragment, which no request may have. All bytes of a connection are heads: after a request
//! with a body the connection is closed.

use memchr::memchr;

/// What is wrong with a head's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FramingProblem {
    /// A line ends in LF without CR.
    BareLf = 1,
    /// Several `Content-Length`, several `Transfer-Encoding`, or both.
    AmbiguousLength = 2,
    /// The target has a fragment.
    TargetFragment = 3,
}

/// Longest beginning of a line that is looked at.
const MAX_PREFIX: usize = 32;

/// Follows the lines of the heads of one connection, across any division into chunks.
#[derive(Debug, Default)]
pub(crate) struct FramingScanner {
    /// Heads that have ended.
    finished_heads: u32,
    /// Lines of the head that has not ended.
    lines_seen: u32,
    content_lengths: u8,
    transfer_encodings: u8,
    target: TargetScan,
    /// A line whose end has not come.
    partial_line: PartialLine,
}

/// What has been seen of the target in a head's first line.
#[derive(Debug, Default)]
struct TargetScan {
    has_begun: bool,
    has_fragment: bool,
}

#[derive(Debug, Default)]
struct PartialLine {
    prefix: [u8; MAX_PREFIX],
    length: usize,
    last_byte: u8,
}

impl FramingScanner {
    /// Takes in the next bytes; gives the first fault in them and the number of the head (from 0) that has it.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Option<(u32, FramingProblem)> {
        let mut fault = None;
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let head = self.finished_heads;
            self.scan_target(&rest[..end]);
            let found = if self.partial_line.length == 0 {
                self.check_line(&rest[..end], end, rest[..end].last().copied())
            } else {
                self.partial_line.append_bytes(&rest[..end]);
                let PartialLine {
                    prefix,
                    length,
                    last_byte: last,
                } = std::mem::take(&mut self.partial_line);
                self.check_line(&prefix[..length.min(MAX_PREFIX)], length, Some(last))
            };
            fault = fault.or(found.map(|fault| (head, fault)));
            rest = &rest[end + 1..];
        }
        self.scan_target(rest);
        self.partial_line.append_bytes(rest);
        fault
    }

    /// Looks at a piece of a head's first line.
    fn scan_target(&mut self, piece: &[u8]) {
        if self.lines_seen > 0 {
            return;
        }
        let begin = if self.target.has_begun {
            Some(0)
        } else {
            memchr(b' ', piece)
        };
        if let Some(begin) = begin {
            self.target.has_begun = true;
            self.target.has_fragment |= memchr(b'#', &piece[begin..]).is_some();
        }
    }

    /// One line without its LF: how it begins, how long it is and how it ends.
    fn check_line(
        &mut self,
        begin: &[u8],
        length: usize,
        last: Option<u8>,
    ) -> Option<FramingProblem> {
        let target = std::mem::take(&mut self.target);
        if last != Some(b'\r') {
            self.lines_seen += 1;
            return Some(FramingProblem::BareLf);
        }
        if length == 1 {
            return self.end_head();
        }
        self.lines_seen += 1;
        match begin[0] {
            b'c' | b'C' if has_field_name(begin, b"content-length:") => {
                self.content_lengths = self.content_lengths.saturating_add(1)
            }
            b't' | b'T' if has_field_name(begin, b"transfer-encoding:") => {
                self.transfer_encodings = self.transfer_encodings.saturating_add(1)
            }
            _ => {}
        }
        target
            .has_fragment
            .then_some(FramingProblem::TargetFragment)
    }

    /// Ends a head; empty lines before one are skipped, as the library does.
    fn end_head(&mut self) -> Option<FramingProblem> {
        if self.lines_seen == 0 {
            return None;
        }
        let twice = usize::from(self.content_lengths) + usize::from(self.transfer_encodings) > 1;
        self.finished_heads = self.finished_heads.wrapping_add(1);
        (
            self.lines_seen,
            self.content_lengths,
            self.transfer_encodings,
        ) = (0, 0, 0);
        twice.then_some(FramingProblem::AmbiguousLength)
    }
}

impl PartialLine {
    fn append_bytes(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        if let Some(room) = self.prefix.get_mut(self.length..) {
            let take = room.len().min(bytes.len());
            room[..take].copy_from_slice(&bytes[..take]);
        }
        self.length += bytes.len();
        self.last_byte = *last;
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
        let mut lines = FramingScanner::default();
        let mut faults = text
            .as_bytes()
            .chunks(1)
            .filter_map(|byte| lines.scan(byte));
        faults.next()
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
