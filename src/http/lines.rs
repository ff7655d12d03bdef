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
pub(super) enum Fault {
    /// A line ends in LF without CR.
    BareLf = 1,
    /// Several `Content-Length`, several `Transfer-Encoding`, or both.
    Length = 2,
    /// The target has a fragment.
    Fragment = 3,
}

/// Longest beginning of a line that is looked at.
const PREFIX: usize = 32;

/// Follows the lines of the heads of one connection, across any division into chunks.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Heads that have ended.
    heads: u32,
    /// Lines of the head that has not ended.
    seen: u32,
    lengths: u8,
    encodings: u8,
    target: Target,
    /// A line whose end has not come.
    partial: Partial,
}

/// What has been seen of the target in a head's first line.
#[derive(Debug, Default)]
struct Target {
    begun: bool,
    has_fragment: bool,
}

#[derive(Debug, Default)]
struct Partial {
    prefix: [u8; PREFIX],
    length: usize,
    last: u8,
}

impl Lines {
    /// Takes in the next bytes; gives the first fault in them and the number of the head (from 0) that has it.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Option<(u32, Fault)> {
        let mut fault = None;
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let head = self.heads;
            self.look_for_fragment(&rest[..end]);
            let found = if self.partial.length == 0 {
                self.line(&rest[..end], end, rest[..end].last().copied())
            } else {
                self.partial.extend(&rest[..end]);
                let Partial {
                    prefix,
                    length,
                    last,
                } = std::mem::take(&mut self.partial);
                self.line(&prefix[..length.min(PREFIX)], length, Some(last))
            };
            fault = fault.or(found.map(|fault| (head, fault)));
            rest = &rest[end + 1..];
        }
        self.look_for_fragment(rest);
        self.partial.extend(rest);
        fault
    }

    /// Looks at a piece of a head's first line.
    fn look_for_fragment(&mut self, piece: &[u8]) {
        if self.seen > 0 {
            return;
        }
        let begin = if self.target.begun {
            Some(0)
        } else {
            memchr(b' ', piece)
        };
        if let Some(begin) = begin {
            self.target.begun = true;
            self.target.has_fragment |= memchr(b'#', &piece[begin..]).is_some();
        }
    }

    /// One line without its LF: how it begins, how long it is and how it ends.
    fn line(&mut self, begin: &[u8], length: usize, last: Option<u8>) -> Option<Fault> {
        let target = std::mem::take(&mut self.target);
        if last != Some(b'\r') {
            self.seen += 1;
            return Some(Fault::BareLf);
        }
        if length == 1 {
            return self.blank();
        }
        self.seen += 1;
        match begin[0] {
            b'c' | b'C' if names(begin, b"content-length:") => {
                self.lengths = self.lengths.saturating_add(1)
            }
            b't' | b'T' if names(begin, b"transfer-encoding:") => {
                self.encodings = self.encodings.saturating_add(1)
            }
            _ => {}
        }
        target.has_fragment.then_some(Fault::Fragment)
    }

    /// Ends a head; empty lines before one are skipped, as the library does.
    fn blank(&mut self) -> Option<Fault> {
        if self.seen == 0 {
            return None;
        }
        let twice = usize::from(self.lengths) + usize::from(self.encodings) > 1;
        self.heads = self.heads.wrapping_add(1);
        (self.seen, self.lengths, self.encodings) = (0, 0, 0);
        twice.then_some(Fault::Length)
    }
}

impl Partial {
    fn extend(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        if let Some(room) = self.prefix.get_mut(self.length..) {
            let take = room.len().min(bytes.len());
            room[..take].copy_from_slice(&bytes[..take]);
        }
        self.length += bytes.len();
        self.last = *last;
    }
}

fn names(line: &[u8], name: &[u8]) -> bool {
    line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<(u32, Fault)> {
        Lines::default().scan(text.as_bytes())
    }

    fn byte_by_byte(text: &str) -> Option<(u32, Fault)> {
        let mut lines = Lines::default();
        let mut faults = text
            .as_bytes()
            .chunks(1)
            .filter_map(|byte| lines.scan(byte));
        faults.next()
    }

    #[test]
    fn faults_are_found_however_the_bytes_come() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\nHost: a\r\n\r\n", "y".repeat(100));
        let table = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", None),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Some((0, Fault::BareLf))),
            ("GET / HTTP/1.1\r\nHost: a\n\n", Some((0, Fault::BareLf))),
            (
                "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nA: b\n\r\n",
                Some((1, Fault::BareLf)),
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 0\r\nContent-Length: 0\r\n\r\n",
                Some((0, Fault::Length)),
            ),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                Some((0, Fault::Length)),
            ),
            (
                "GET / HTTP/1.1\r\nTE: a\r\ntransfer-encoding: x\r\ntransfer-encoding: y\r\n\r\n",
                Some((0, Fault::Length)),
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                None,
            ),
            (&long, Some((0, Fault::BareLf))),
            ("GET /a#b HTTP/1.1\r\n\r\n", Some((0, Fault::Fragment))),
            (
                "G#T /a HTTP/1.1\r\nX: # #\r\n\r\n\r\nGET # HTTP/1.1\r\n\r\n",
                Some((1, Fault::Fragment)),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(whole(text), expected, "{text:?}");
            assert_eq!(byte_by_byte(text), expected, "{text:?}");
        }
    }
}
