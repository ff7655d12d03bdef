//! A table of the file, read key by key with types and places.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeArray, DeTable, DeValue};

use super::context::Context;
use super::problems::Problems;
use super::units::{self, UnitError};

/// Values with a unit: what they are called, and what is accepted.
const DURATION: (&str, &str) = (
    "duration",
    "a duration in quotes, such as \"250ms\", \"5s\", \"1m\", \"2h\" or \"1d\"",
);
const SIZE: (&str, &str) = ("size", "a size in quotes, such as \"64KiB\" or \"1MiB\"");

/// A value and the bytes of the file where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A string value with its references expanded. Its `Display` is what the file says, never what `${…}` became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) value: String,
    /// What the file says, where that is something else.
    pub(super) written: Option<String>,
    pub(super) span: Range<usize>,
}

impl Text {
    /// What the file says.
    pub(super) fn written(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.value)
    }
}

impl From<Spot<String>> for Text {
    /// A key: nothing is expanded in it.
    fn from(key: Spot<String>) -> Self {
        Self {
            value: key.value,
            written: None,
            span: key.span,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(self.written()))
    }
}

/// A text of the file within a message: in backticks, escaped, and short.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(48).flat_map(char::escape_debug).collect();
    if text.chars().nth(48).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}

/// The known key nearest to `got`, if any is near.
pub(super) fn nearest<'k>(got: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let got: String = got.chars().take(80).flat_map(char::to_lowercase).collect();
    let distance = |known: &str| strsim::damerau_levenshtein(&got, &known.to_lowercase());
    let (far, best) = known
        .into_iter()
        .map(|known| (distance(known), known))
        .min_by_key(|(far, _)| *far)?;
    let longest = got.chars().count().max(best.chars().count());
    (far * 3 <= longest).then_some(best)
}

/// A table with the words that tell people which one it is.
pub(super) struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    /// `` in source `btc` ``
    pub(super) place: String,
}

type Value<'t, 'i> = &'t toml::Spanned<DeValue<'i>>;

impl<'t, 'i> Section<'t, 'i> {
    /// A table whose keys are all among `keys`; others are problems.
    pub(super) fn new(
        table: &'t DeTable<'i>,
        place: String,
        keys: &[&str],
        problems: &mut Problems,
    ) -> Self {
        let section = Self { table, place };
        for key in table.keys() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let got = key.get_ref();
                let message = format!("unknown key {} {}", quote(got), section.place);
                problems.error(&key.span(), message, advice(got, keys));
            }
        }
        section
    }

    /// A table whose keys are the operator's own.
    pub(super) fn open(table: &'t DeTable<'i>, place: String) -> Self {
        Self { table, place }
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string with its references expanded.
    pub(super) fn text(&self, key: &str, cx: &mut Context<'_>) -> Option<Text> {
        let value = self.table.get(key)?;
        self.text_of(key, value, "a string in quotes", cx)
    }

    /// A string that is taken as it stands.
    pub(super) fn literal(&self, key: &str, cx: &mut Context<'_>) -> Option<Text> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Text {
                value: text.to_string(),
                written: None,
                span: value.span(),
            }),
            _ => self.wrong(key, value, "a string in quotes", cx),
        }
    }

    fn text_of(
        &self,
        key: &str,
        value: Value<'_, '_>,
        expected: &str,
        cx: &mut Context<'_>,
    ) -> Option<Text> {
        match value.get_ref() {
            DeValue::String(text) => cx.expand(text, &value.span()),
            _ => self.wrong(key, value, expected, cx),
        }
    }

    /// A duration longer than nothing.
    pub(super) fn duration(&self, key: &str, cx: &mut Context<'_>) -> Option<Spot<Duration>> {
        let span = self.duration_or_zero(key, cx)?;
        self.above_zero(key, span, "1ms", &mut cx.problems)
    }

    /// A duration.
    pub(super) fn duration_or_zero(
        &self,
        key: &str,
        cx: &mut Context<'_>,
    ) -> Option<Spot<Duration>> {
        let most = units::duration_text(units::LONGEST);
        self.measured(key, DURATION, units::duration, &most, cx)
    }

    /// A size in bytes, from 1 to `most`.
    pub(super) fn size(&self, key: &str, most: u64, cx: &mut Context<'_>) -> Option<Spot<u64>> {
        let within = |size| {
            if size > most {
                Err(UnitError::TooLarge)
            } else {
                Ok(size)
            }
        };
        let size = self.measured(
            key,
            SIZE,
            |text| units::size(text).and_then(within),
            &units::size_text(most),
            cx,
        )?;
        self.above_zero(key, size, "1B", &mut cx.problems)
    }

    /// A value with a unit, read by `read`, which refuses more than `most`.
    fn measured<T>(
        &self,
        key: &str,
        (what, expected): (&str, &str),
        read: impl Fn(&str) -> Result<T, UnitError>,
        most: &str,
        cx: &mut Context<'_>,
    ) -> Option<Spot<T>> {
        let text = self.text_of(key, self.table.get(key)?, expected, cx)?;
        let no_such = format!("which is no {what}");
        let (fault, help) = match read(&text.value) {
            Ok(value) => {
                return Some(Spot {
                    value,
                    span: text.span,
                });
            }
            Err(UnitError::TooLarge) => {
                ("which is too large", format!("expected at most \"{most}\""))
            }
            Err(UnitError::Form(meant)) => match meant.filter(|_| text.written.is_none()) {
                Some(meant) => (no_such.as_str(), format!("did you mean \"{meant}\"?")),
                None => (no_such.as_str(), format!("expected {expected}")),
            },
        };
        cx.problems.error(
            &text.span,
            format!("`{key}` {} is {text}, {fault}", self.place),
            help,
        );
        None
    }

    fn above_zero<T: PartialEq + Default>(
        &self,
        key: &str,
        spot: Spot<T>,
        least: &str,
        problems: &mut Problems,
    ) -> Option<Spot<T>> {
        if spot.value == T::default() {
            let help = format!("expected at least \"{least}\"");
            problems.error(&spot.span, format!("`{key}` {} is zero", self.place), help);
            return None;
        }
        Some(spot)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(
        &self,
        key: &str,
        least: u64,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Option<u64> {
        let value = self.table.get(key)?;
        let expected = format!("a whole number from {least} to {most}");
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong(key, value, &expected, cx);
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let within = number.filter(|number| (least..=most).contains(number));
        if within.is_none() {
            let got = quote(&cx.text[value.span()]);
            let message = format!("`{key}` {} is {got}, out of bounds", self.place);
            cx.problems
                .error(&value.span(), message, format!("expected {expected}"));
        }
        within
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str, cx: &mut Context<'_>) -> Option<bool> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong(key, value, "`true` or `false`", cx),
        }
    }

    /// Strings; those that are none are problems and left out.
    pub(super) fn texts(&self, key: &str, cx: &mut Context<'_>) -> Option<Spot<Vec<Text>>> {
        let value = self.table.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            return self.wrong(key, value, "a list of strings, such as [\"a\", \"b\"]", cx);
        };
        let texts = array
            .iter()
            .filter_map(|item| self.text_of(key, item, "a string in quotes", cx))
            .collect();
        Some(Spot {
            value: texts,
            span: value.span(),
        })
    }

    /// The table below `key`.
    pub(super) fn table(&self, key: &str, cx: &mut Context<'_>) -> Option<Spot<&'t DeTable<'i>>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Spot {
                value: table,
                span: value.span(),
            }),
            _ => self.wrong(key, value, "a table", cx),
        }
    }

    /// The tables below `key`; what is none is a problem and left out.
    pub(super) fn tables(
        &self,
        key: &str,
        cx: &mut Context<'_>,
    ) -> Option<Spot<Vec<Spot<&'t DeTable<'i>>>>> {
        let value = self.table.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            return self.wrong(key, value, "a list of tables, each begun by `[[…]]`", cx);
        };
        let tables = self.tables_of(key, array, cx);
        Some(Spot {
            value: tables,
            span: value.span(),
        })
    }

    fn tables_of(
        &self,
        key: &str,
        array: &'t DeArray<'i>,
        cx: &mut Context<'_>,
    ) -> Vec<Spot<&'t DeTable<'i>>> {
        let tables = array.iter().filter_map(|item| match item.get_ref() {
            DeValue::Table(table) => Some(Spot {
                value: table,
                span: item.span(),
            }),
            _ => self.wrong(key, item, "a table", cx),
        });
        tables.collect()
    }

    /// Every key with its table; what is none is a problem and left out.
    pub(super) fn named_tables(
        &self,
        what: &str,
        cx: &mut Context<'_>,
    ) -> Vec<(Spot<String>, Spot<&'t DeTable<'i>>)> {
        let mut named = Vec::with_capacity(self.table.len());
        for (key, value) in self.table {
            let name = Spot {
                value: key.get_ref().to_string(),
                span: key.span(),
            };
            if let DeValue::Table(table) = value.get_ref() {
                named.push((
                    name,
                    Spot {
                        value: table,
                        span: value.span(),
                    },
                ));
            } else {
                let message = format!(
                    "{} {} is {}",
                    quote(&name.value),
                    self.place,
                    kind(value.get_ref())
                );
                cx.problems.error(
                    &value.span(),
                    message,
                    format!("expected a {what}, begun by `[…]` with its name"),
                );
            }
        }
        named
    }

    /// Every header with its value.
    pub(super) fn headers(&self, cx: &mut Context<'_>) -> Vec<(Spot<String>, Text)> {
        let mut named = Vec::with_capacity(self.table.len());
        for (key, value) in self.table {
            let name = Spot {
                value: key.get_ref().to_string(),
                span: key.span(),
            };
            match self.text_of(&name.value, value, "a string in quotes", cx) {
                Some(text) => named.push((name, text)),
                // A header's value is a secret even where it is none.
                None => cx
                    .secrets
                    .extend(cx.text.get(value.span()).map(str::to_owned)),
            }
        }
        named
    }

    fn wrong<T>(
        &self,
        key: &str,
        value: Value<'_, '_>,
        expected: &str,
        cx: &mut Context<'_>,
    ) -> Option<T> {
        let what = described(value, cx.text);
        let message = format!("{} {} is {what}", quote(key), self.place);
        cx.problems
            .error(&value.span(), message, format!("expected {expected}"));
        None
    }
}

/// What a key that nobody knows may have been meant to be.
fn advice(got: &str, keys: &[&str]) -> String {
    if let Some(near) = nearest(got, keys.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    match super::raw::home_of(got) {
        Some(home) => format!("`{got}` belongs {home}"),
        None => format!("known here: {}", keys.join(", ")),
    }
}

/// A value's type, and the value itself if it is short by nature.
fn described(value: Value<'_, '_>, text: &str) -> String {
    let kind = kind(value.get_ref());
    match value.get_ref() {
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => kind.to_owned(),
        _ => format!("{kind}: {}", quote(&text[value.span()])),
    }
}

/// A value's type, as messages call it.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
