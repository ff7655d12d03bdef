//! HTML: an array of the elements that a CSS selector matches.

use jaq_json::{Map, Val};
use scraper::error::SelectorErrorKind;
use scraper::{ElementRef, Html, Selector};

use super::super::body_kind::describe_other_format;
use super::format_flaw::FormatFlaw;

/// The most bytes of text and HTML that the matches may have together, unless the page is larger. Matches within matches
/// repeat their contents.
const MAX_MATCH_BYTES: usize = 4 << 20;

/// What a match takes beside its texts, in bytes.
const BYTES_PER_MATCH: usize = 256;

/// Checks that `select` is a CSS selector.
///
/// # Errors
/// Why it is none.
pub fn check_selector(select: &str) -> Result<(), String> {
    Selector::parse(select)
        .map(drop)
        .map_err(|error| match error {
            SelectorErrorKind::EndOfLine => "it ends too early".to_owned(),
            SelectorErrorKind::UnexpectedSelectorParseError(kind) => {
                split_words(&format!("{kind:?}"))
            }
            error => error.to_string().to_lowercase(),
        })
}

/// Returns the words of a name of the library: `DanglingCombinator` → `dangling combinator`.
fn split_words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Returns the elements that `select` matches, in the order of the page: `{"text", "html"}` and the attributes by name.
pub(super) fn read_html(text: &str, select: &str) -> Result<Val, FormatFlaw> {
    // Every text is HTML, so that JSON is recognised by its start.
    if text.trim_start().starts_with(['{', '['])
        && describe_other_format(text.as_bytes(), "html")
            .is_some_and(|other| other.contains("JSON"))
    {
        return Err(FormatFlaw::of_whole("no page"));
    }
    let Ok(selector) = Selector::parse(select) else {
        return Err(FormatFlaw::of_whole("`select` is no CSS selector"));
    };
    let page = Html::parse_document(text);
    let limit = text.len().max(MAX_MATCH_BYTES);
    let mut bytes = 0;
    let mut matches = Vec::new();
    for element in page.select(&selector) {
        let (members, taken) = match_members(element);
        bytes += taken;
        if bytes > limit {
            let what = format!("the matches of `select` have more than {limit} bytes");
            return Err(FormatFlaw::of_whole(what));
        }
        matches.push(Val::obj(members));
    }
    Ok(matches.into_iter().collect())
}

/// Returns the members of a match, and how many bytes they have.
fn match_members(element: ElementRef<'_>) -> (Map, usize) {
    let inner = element.inner_html();
    let text = collapse_space(&element.text().collect::<String>());
    let mut bytes = inner.len() + text.len() + BYTES_PER_MATCH;
    let mut members = Map::default();
    members.insert(Val::utf8_str("text"), Val::utf8_str(text));
    members.insert(Val::utf8_str("html"), Val::utf8_str(inner));
    for (name, value) in element.value().attrs() {
        bytes += name.len() + value.len();
        let name = Val::utf8_str(name.to_owned());
        // An attribute `text` does not replace the text.
        members
            .entry(name)
            .or_insert_with(|| Val::utf8_str(value.to_owned()));
    }
    (members, bytes)
}

/// Returns the words of `text` with one space between them.
fn collapse_space(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}
