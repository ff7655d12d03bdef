//! Text: a string.

use bytes::Bytes;
use jaq_json::Val;

/// Returns the text without its last line ending (LF or CRLF).
pub(super) fn read_text(text: &Bytes) -> Val {
    let line = text.strip_suffix(b"\n");
    let line = line.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let end = line.map_or(text.len(), <[u8]>::len);
    Val::utf8_str(text.slice(..end))
}
