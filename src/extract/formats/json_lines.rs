//! JSON lines: an array of the documents, one a line.

use bytes::Bytes;
use jaq_json::Val;

use super::super::json::find_json_flaw;
use super::super::reader::read_json;
use super::format_flaw::FormatFlaw;
use crate::text::{MAX_DEPTH, find_excess_depth};

/// Reads the documents of `text`, which is `bytes`. Blank lines are ignored; a line may end with CRLF.
pub(super) fn read_json_lines(text: &str, bytes: &Bytes) -> Result<Val, FormatFlaw> {
    let mut documents = Vec::new();
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let start = end;
        end += line.len();
        if line.trim_ascii().is_empty() {
            continue;
        }
        // The array is a level, too.
        if let Some(at) = find_excess_depth(line.as_bytes(), MAX_DEPTH - 1) {
            return Err(FormatFlaw::TooDeep { at: start + at });
        }
        if let Some((what, at)) = find_json_flaw(line) {
            return Err(FormatFlaw::invalid(what, start + at));
        }
        documents.push(read_json(&bytes.slice(start..end)));
    }
    Ok(documents.into_iter().collect())
}
