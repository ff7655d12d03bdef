//! XML 1.0: objects by element name.
//!
//! An attribute is the member `@name`, text `#text`. An element with neither attributes nor children is its text. Elements
//! of one name below one parent are an array. Names keep their prefixes. Text is trimmed, text around children is joined.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jaq_json::{Map, Val};
use quick_xml::XmlVersion;
use quick_xml::errors::{Error as XmlError, IllFormedError};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::format_flaw::FormatFlaw;
use crate::text::MAX_DEPTH;

/// What is wrong with `&x;`.
const NO_REFERENCE: &str =
    "a reference that is neither a character of XML nor one of its five entities";

/// An element whose end was not read yet.
struct OpenElement {
    name: Val,
    members: Map,
    text: String,
    /// Where its start tag begins, in bytes.
    at: usize,
}

/// Reads the document `text`, which is `bytes`: an object with one member, the root element.
pub(super) fn read_xml(text: &str, bytes: &Bytes) -> Result<Val, FormatFlaw> {
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !is_xml_char(*c)) {
        let what = format!("the character U+{:04X}", c as u32);
        return Err(FormatFlaw::invalid(what, at));
    }
    let mut reader = Reader::from_str(text.trim_start());
    let offset = text.len() - text.trim_start().len();
    let mut document = Map::default();
    let mut open: Vec<OpenElement> = Vec::new();
    loop {
        let at = offset + reader.buffer_position() as usize;
        let event = reader.read_event().map_err(|error| {
            let at = offset + reader.error_position() as usize;
            FormatFlaw::invalid(describe_xml_error(&error), at.min(text.len()))
        })?;
        let is_outside = open.is_empty();
        match event {
            Event::Start(tag) => open_element(&tag, at, bytes, &document, &mut open)?,
            Event::Empty(tag) => {
                open_element(&tag, at, bytes, &document, &mut open)?;
                close_element(&mut open, &mut document);
            }
            // The reader has compared the names of start and end.
            Event::End(_) => close_element(&mut open, &mut document),
            Event::Text(part) => append_text(&mut open, &part.xml10_content(), at)?,
            Event::CData(part) if !is_outside => {
                append_text(&mut open, &part.xml10_content(), at)?;
            }
            Event::GeneralRef(reference) if !is_outside => {
                append_text(&mut open, &resolve_reference(&reference, at)?, at)?;
            }
            Event::CData(_) | Event::GeneralRef(_) => {
                return Err(FormatFlaw::invalid("text outside the root element", at));
            }
            Event::DocType(_) => {
                let what = "a document type declaration (DTD), which is not accepted";
                return Err(FormatFlaw::invalid(what, at));
            }
            Event::Decl(_) if at > offset => {
                return Err(FormatFlaw::invalid(
                    "an XML declaration behind the start",
                    at,
                ));
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if let Some(element) = open.last() {
        return Err(FormatFlaw::invalid(
            "an element that is not closed",
            element.at,
        ));
    }
    if document.is_empty() {
        return Err(FormatFlaw::of_whole("no element"));
    }
    Ok(Val::obj(document))
}

fn open_element(
    tag: &BytesStart<'_>,
    at: usize,
    bytes: &Bytes,
    document: &Map,
    open: &mut Vec<OpenElement>,
) -> Result<(), FormatFlaw> {
    if open.is_empty() && !document.is_empty() {
        return Err(FormatFlaw::invalid("a second root element", at));
    }
    if open.len() == MAX_DEPTH {
        return Err(FormatFlaw::TooDeep { at });
    }
    let name = tag.name();
    check_name(name.as_ref(), at)?;
    let mut members = Map::default();
    // The check for repeated names in the library compares each attribute with all before it.
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| FormatFlaw::invalid(error.to_string(), at))?;
        let key = attribute.key.as_ref();
        check_name(key, at)?;
        if attribute.value.contains('<') {
            return Err(FormatFlaw::invalid("`<` in the value of an attribute", at));
        }
        let value = attribute
            .normalized_value(XmlVersion::Explicit1_0)
            .map_err(|_| FormatFlaw::invalid(NO_REFERENCE, at))?;
        if !value.chars().all(is_xml_char) {
            return Err(FormatFlaw::invalid(NO_REFERENCE, at));
        }
        let member = Val::utf8_str(format!("@{key}"));
        if members
            .insert(member, Val::utf8_str(value.into_owned()))
            .is_some()
        {
            return Err(FormatFlaw::invalid(
                "an attribute that is written twice",
                at,
            ));
        }
    }
    // The name stands behind `<`; it shares the memory of the text.
    let start = at + 1;
    open.push(OpenElement {
        name: Val::utf8_str(bytes.slice(start..start + name.as_ref().len())),
        members,
        text: String::new(),
        at,
    });
    Ok(())
}

/// Moves the innermost open element into its parent, or into the document.
fn close_element(open: &mut Vec<OpenElement>, document: &mut Map) {
    let Some(element) = open.pop() else { return };
    let mut members = element.members;
    let text = element.text.trim_matches(is_xml_space);
    let value = if members.is_empty() {
        Val::utf8_str(text.to_owned())
    } else {
        if !text.is_empty() {
            members.insert(Val::utf8_str("#text"), Val::utf8_str(text.to_owned()));
        }
        Val::obj(members)
    };
    let siblings = open
        .last_mut()
        .map_or(document, |parent| &mut parent.members);
    match siblings.get_mut(&element.name) {
        None => drop(siblings.insert(element.name, value)),
        Some(Val::Arr(items)) => Arc::make_mut(items).push(value),
        Some(first) => *first = [std::mem::take(first), value].into_iter().collect(),
    }
}

fn append_text(open: &mut [OpenElement], part: &str, at: usize) -> Result<(), FormatFlaw> {
    match open.last_mut() {
        Some(element) => element.text.push_str(part),
        None if part.chars().all(is_xml_space) => {}
        None => return Err(FormatFlaw::invalid("text outside the root element", at)),
    }
    Ok(())
}

/// Returns the text of a character reference or of one of the five entities of XML.
fn resolve_reference(reference: &BytesRef<'_>, at: usize) -> Result<Cow<'static, str>, FormatFlaw> {
    let name = reference.xml10_content();
    if let Some(text) = quick_xml::escape::resolve_xml_entity(&name) {
        return Ok(text.into());
    }
    let character = reference.resolve_char_ref().ok().flatten();
    let character = character.filter(|c| is_xml_char(*c));
    character
        .map(|c| c.to_string().into())
        .ok_or_else(|| FormatFlaw::invalid(NO_REFERENCE, at))
}

fn check_name(name: &str, at: usize) -> Result<(), FormatFlaw> {
    let is_start = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':') || !c.is_ascii();
    let is_rest = |c: char| is_start(c) || c.is_ascii_digit() || matches!(c, '-' | '.');
    if name.starts_with(is_start) && name.chars().all(is_rest) {
        return Ok(());
    }
    Err(FormatFlaw::invalid("a name that is no name of XML", at))
}

/// Returns what is wrong, without names of the document: a message must not have text of a body outside its quotation.
fn describe_xml_error(error: &XmlError) -> String {
    match error {
        XmlError::Syntax(error) => error.to_string(),
        XmlError::IllFormed(IllFormedError::MismatchedEndTag { .. }) => {
            "an end tag of another element than the open one".to_owned()
        }
        XmlError::IllFormed(IllFormedError::UnmatchedEndTag(_)) => {
            "an end tag without a start tag".to_owned()
        }
        XmlError::IllFormed(IllFormedError::UnclosedReference) => {
            "`&` that begins no reference".to_owned()
        }
        _ => "markup that is not well-formed".to_owned(),
    }
}

/// Whether XML 1.0 allows the character (section 2.2).
const fn is_xml_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

const fn is_xml_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
