//! A table of the file after reading: values of the declared types, by key.

use std::time::Duration;

use serde_json::Number;
use url::Url;

use super::keys::{Key, Section, find_key};
use super::span::{Span, Spanned, SpannedStr};

/// The value of a key.
#[derive(Debug)]
pub(super) enum Value {
    Text(SpannedStr),
    Url(SpannedStr, Url),
    Duration(Duration),
    /// An integer, or a size in bytes.
    Integer(u64),
    Boolean(bool),
    TextList(Vec<SpannedStr>),
    IntegerList(Vec<u64>),
    Number(Number),
    /// Names and texts; a name with a list has one entry for each of its items.
    TextTable(Vec<(SpannedStr, SpannedStr)>),
    Tables(Vec<Table>),
}

/// A table and the values of its keys.
///
/// Each accessor takes the name of a key that is declared for the table and returns its value if it is written and
/// valid.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) section: Section,
    /// The last part of the header: `NAME` of `[sources.NAME]`. Empty for other tables.
    pub(super) name: SpannedStr,
    pub(super) span: Span,
    entries: Vec<Entry>,
}

/// A key that is written, valid or not.
#[derive(Debug)]
struct Entry {
    key: &'static Key,
    span: Span,
    /// `None` if the value is invalid; the problem is reported.
    value: Option<Value>,
}

impl Table {
    pub(super) fn new(section: Section, name: SpannedStr, span: Span) -> Self {
        Self {
            section,
            name,
            span,
            entries: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, key: &'static Key, span: Span, value: Option<Value>) {
        self.entries.push(Entry { key, span, value });
    }

    /// Whether tables of this kind accept the key.
    pub(super) fn accepts(&self, key: &str) -> bool {
        find_key(self.section, key).is_some()
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        debug_assert!(self.accepts(key), "{key} is not declared");
        self.entries.iter().find(|entry| entry.key.name == key)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.entry(key)?.value.as_ref()
    }

    /// The place of the value, valid or not.
    pub(super) fn span_of(&self, key: &str) -> Option<&Span> {
        self.entry(key).map(|entry| &entry.span)
    }

    /// Whether the key is written, with a valid value or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key is written with an invalid value.
    pub(super) fn is_invalid(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| entry.value.is_none())
    }

    pub(super) fn text(&self, key: &str) -> Option<&SpannedStr> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A URL and its text. `None` if the text is empty.
    pub(super) fn url(&self, key: &str) -> Option<(&SpannedStr, &Url)> {
        match self.value(key)? {
            Value::Url(text, url) => Some((text, url)),
            _ => None,
        }
    }

    pub(super) fn duration(&self, key: &str) -> Option<Spanned<'_, Duration>> {
        let entry = self.entry(key)?;
        match entry.value.as_ref()? {
            Value::Duration(value) => Some(Spanned {
                value: *value,
                span: &entry.span,
            }),
            _ => None,
        }
    }

    /// An integer, or a size in bytes.
    pub(super) fn integer(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn number(&self, key: &str) -> Option<&Number> {
        match self.value(key)? {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The valid texts of a list.
    pub(super) fn text_list(&self, key: &str) -> Option<&[SpannedStr]> {
        match self.value(key)? {
            Value::TextList(texts) => Some(texts),
            _ => None,
        }
    }

    /// The valid integers of a list.
    pub(super) fn integer_list(&self, key: &str) -> Option<&[u64]> {
        match self.value(key)? {
            Value::IntegerList(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The valid texts of a table with their names. Empty if the key is absent.
    pub(super) fn text_table(&self, key: &str) -> &[(SpannedStr, SpannedStr)] {
        match self.value(key) {
            Some(Value::TextTable(texts)) => texts,
            _ => &[],
        }
    }

    /// The valid tables of a key. Empty if the key is absent.
    pub(super) fn tables(&self, key: &str) -> &[Self] {
        match self.value(key) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }
}
