//! One value of a source as a body: plain text or JSON.

use std::borrow::Cow;
use std::collections::VecDeque;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::summary_body::SummaryRow;
use crate::text::{JsonChildren, decode_json_string, find_nearest, json_children};

/// Maximum number of paths that a misspelt one is compared with. The comparison takes time on a
/// serving thread.
const MAX_COMPARED_PATHS: usize = 256;

/// Maximum length of such a path, in bytes: a longer one is not near to any that is compared.
const MAX_COMPARED_BYTES: usize = 200;

/// The characters of a key that a path has as `%XX`.
const ESCAPED_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Why a source has no value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFlaw {
    /// The source is missing: it has no reading that may be shown.
    Missing,
    /// Its data has nothing at the path.
    UnknownPath,
}

/// Returns the media type and the body of the value at `path` of a source: JSON, or the text of a scalar on
/// one line of its own.
pub(super) fn write_value(
    row: Option<&SummaryRow<'_>>,
    path: &[String],
    is_json: bool,
) -> Result<(&'static str, Vec<u8>), ValueFlaw> {
    let reading = row.and_then(|row| row.view.reading);
    let data = reading.ok_or(ValueFlaw::Missing)?.data;
    let json = find_value(data.as_json(), path).ok_or(ValueFlaw::UnknownPath)?;
    if is_json || json.starts_with(['{', '[']) {
        return Ok(("application/json", json.as_bytes().to_vec()));
    }
    Ok((
        "text/plain; charset=utf-8",
        (plain_text(json) + "\n").into(),
    ))
}

/// Returns the JSON text at `path` in `json`. Of members with one key the first counts.
pub(super) fn find_value<'j>(json: &'j str, path: &[String]) -> Option<&'j str> {
    path.iter()
        .try_fold(json, |json, segment| match json_children(json) {
            JsonChildren::Members(members) => members
                .into_iter()
                .find(|(key, _)| key == segment)
                .map(|(_, value)| value),
            JsonChildren::Items(items) => items.get(parse_index(segment)?).copied(),
            JsonChildren::None => None,
        })
}

/// Parses an index as it is written without a sign and without leading zeros.
fn parse_index(segment: &str) -> Option<usize> {
    let index: usize = segment.parse().ok()?;
    (index.to_string() == segment).then_some(index)
}

/// Returns the text of a value: the characters of a string, the JSON text of anything else.
pub(super) fn plain_text(json: &str) -> String {
    if json.starts_with('"') {
        decode_json_string(json).into_owned()
    } else {
        json.to_owned()
    }
}

/// Returns the path to a value in `json` whose text, with slashes and escapes as in a URL, is nearest
/// to `wanted`. `None` if none is near.
pub fn find_nearest_value_path(json: &str, wanted: &str) -> Option<String> {
    let mut paths = Vec::new();
    let mut unread = VecDeque::from([(String::new(), json)]);
    // Level by level: paths near the root are the likely ones.
    while let Some((parent, json)) = unread.pop_front() {
        let children: Vec<(Cow<'_, str>, &str)> = match json_children(json) {
            JsonChildren::Members(members) => members,
            JsonChildren::Items(items) => {
                let indices = (0..).map(|index: usize| Cow::Owned(index.to_string()));
                indices.zip(items).collect()
            }
            JsonChildren::None => continue,
        };
        for (key, value) in children {
            if paths.len() == MAX_COMPARED_PATHS {
                unread.clear();
                break;
            }
            let slash = if parent.is_empty() { "" } else { "/" };
            let key = utf8_percent_encode(&key, ESCAPED_IN_PATH);
            let path = format!("{parent}{slash}{key}");
            if path.len() > MAX_COMPARED_BYTES {
                continue;
            }
            paths.push(path.clone());
            unread.push_back((path, value));
        }
    }
    find_nearest(wanted, paths.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{"a":{"b.c":[10,2.50,{"x/y":"ñ"}]},"":1,"0":"zero","a":7}"#;

    fn value_at(path: &[&str]) -> Option<&'static str> {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        find_value(DATA, &path)
    }

    #[test]
    fn value_is_found_by_path() {
        assert_eq!(value_at(&[]), Some(DATA));
        assert_eq!(value_at(&["a", "b.c", "1"]), Some("2.50"));
        assert_eq!(value_at(&["a", "b.c", "2", "x/y"]), Some("\"ñ\""));
        assert_eq!(value_at(&["0"]), Some("\"zero\""));
        for path in [
            &["a", "b", "c"][..],
            &["a", "b.c", "3"],
            &["a", "b.c", "-1"],
            &["a", "b.c", "+1"],
            &["a", "b.c", "01"],
            &["a", "b.c", "1", "0"],
            &["a", "b.c", "99999999999999999999999"],
        ] {
            assert_eq!(value_at(path), None, "{path:?}");
        }
    }

    #[test]
    fn nearest_path_is_written_like_a_url() {
        let nearest = |wanted| find_nearest_value_path(DATA, wanted);
        assert_eq!(nearest("a/b.d").as_deref(), Some("a/b.c"));
        assert_eq!(nearest("a/b.c/2/x/y").as_deref(), Some("a/b.c/2/x%2Fy"));
        assert_eq!(nearest("something/else"), None);
        let many = format!("[{}]", vec!["[1]"; 10_000].join(","));
        assert_eq!(find_nearest_value_path(&many, "9999"), None);
    }
}
