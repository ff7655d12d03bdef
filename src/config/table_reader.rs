//! A table of the file, read key by key with types and places.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeArray, DeTable, DeValue};

use super::config_problems::ProblemCollector;
use super::loader::ConfigLoader;
use super::units;
use super::units::UnitError;

/// Values with a unit: what they are called, and what is accepted.
const DURATION_HELP: (&str, &str) = (
    "duration",
    "a duration in quotes, such as \"250ms\", \"5s\", \"1m\", \"2h\" or \"1d\"",
);
const SIZE_HELP: (&str, &str) = ("size", "a size in quotes, such as \"64KiB\" or \"1MiB\"");

/// A value and the bytes of the file where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpannedValue<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A string value with its references expanded. Its `Display` is what the file says, never what `${…}` became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpannedStr {
    pub(crate) value: String,
    /// What the file says, where that is something else.
    pub(crate) original: Option<String>,
    pub(crate) span: Range<usize>,
}

impl SpannedStr {
    /// What the file says.
    pub(crate) fn as_written(&self) -> &str {
        self.original.as_deref().unwrap_or(&self.value)
    }
}

impl From<SpannedValue<String>> for SpannedStr {
    /// A key: nothing is expanded in it.
    fn from(key: SpannedValue<String>) -> Self {
        Self {
            value: key.value,
            original: None,
            span: key.span,
        }
    }
}

impl fmt::Display for SpannedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(self.as_written()))
    }
}

/// A text of the file within a message: in backticks, escaped, and short.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(48).flat_map(char::escape_debug).collect();
    if text.chars().nth(48).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}

/// The known key nearest to `got`, if any is near.
pub(crate) fn closest_match<'k>(
    got: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
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
pub(crate) struct TableReader<'t, 'i> {
    table: &'t DeTable<'i>,
    /// `` in source `btc` ``
    pub(crate) description: String,
}

type TomlValue<'t, 'i> = &'t toml::Spanned<DeValue<'i>>;

impl<'t, 'i> TableReader<'t, 'i> {
    /// A table whose keys are all among `keys`; others are problems.
    pub(crate) fn new(
        table: &'t DeTable<'i>,
        place: String,
        keys: &[&str],
        problems: &mut ProblemCollector,
    ) -> Self {
        let section = Self {
            table,
            description: place,
        };
        for key in table.keys() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let got = key.get_ref();
                let message = format!("unknown key {} {}", quote(got), section.description);
                problems.add_error(&key.span(), message, unknown_key_help(got, keys));
            }
        }
        section
    }

    /// A table whose keys are the operator's own.
    pub(crate) fn with_any_keys(table: &'t DeTable<'i>, place: String) -> Self {
        Self {
            table,
            description: place,
        }
    }

    /// Whether the key is there, whatever its value.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string with its references expanded.
    pub(crate) fn read_string(&self, key: &str, cx: &mut ConfigLoader<'_>) -> Option<SpannedStr> {
        let value = self.table.get(key)?;
        self.read_string_value(key, value, "a string in quotes", cx)
    }

    /// A string that is taken as it stands.
    pub(crate) fn read_literal(&self, key: &str, cx: &mut ConfigLoader<'_>) -> Option<SpannedStr> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(SpannedStr {
                value: text.to_string(),
                original: None,
                span: value.span(),
            }),
            _ => self.report_wrong_type(key, value, "a string in quotes", cx),
        }
    }

    fn read_string_value(
        &self,
        key: &str,
        value: TomlValue<'_, '_>,
        expected: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedStr> {
        match value.get_ref() {
            DeValue::String(text) => cx.expand_string(text, &value.span()),
            _ => self.report_wrong_type(key, value, expected, cx),
        }
    }

    /// A duration longer than nothing.
    pub(crate) fn read_duration(
        &self,
        key: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<Duration>> {
        let span = self.read_duration_or_zero(key, cx)?;
        self.require_nonzero(key, span, "1ms", &mut cx.problems)
    }

    /// A duration.
    pub(crate) fn read_duration_or_zero(
        &self,
        key: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<Duration>> {
        let most = units::format_duration(units::MAX_DURATION);
        self.read_with_unit(key, DURATION_HELP, units::parse_duration, &most, cx)
    }

    /// A size in bytes, from 1 to `most`.
    pub(crate) fn read_size(
        &self,
        key: &str,
        most: u64,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<u64>> {
        let within = |size| {
            if size > most {
                Err(UnitError::TooLarge)
            } else {
                Ok(size)
            }
        };
        let size = self.read_with_unit(
            key,
            SIZE_HELP,
            |text| units::parse_size(text).and_then(within),
            &units::format_size(most),
            cx,
        )?;
        self.require_nonzero(key, size, "1B", &mut cx.problems)
    }

    /// A value with a unit, read by `read`, which refuses more than `most`.
    fn read_with_unit<T>(
        &self,
        key: &str,
        (what, expected): (&str, &str),
        read: impl Fn(&str) -> Result<T, UnitError>,
        most: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<T>> {
        let text = self.read_string_value(key, self.table.get(key)?, expected, cx)?;
        let no_such = format!("which is no {what}");
        let (fault, help) = match read(&text.value) {
            Ok(value) => {
                return Some(SpannedValue {
                    value,
                    span: text.span,
                });
            }
            Err(UnitError::TooLarge) => {
                ("which is too large", format!("expected at most \"{most}\""))
            }
            Err(UnitError::Malformed(meant)) => match meant.filter(|_| text.original.is_none()) {
                Some(meant) => (no_such.as_str(), format!("did you mean \"{meant}\"?")),
                None => (no_such.as_str(), format!("expected {expected}")),
            },
        };
        cx.problems.add_error(
            &text.span,
            format!("`{key}` {} is {text}, {fault}", self.description),
            help,
        );
        None
    }

    fn require_nonzero<T: PartialEq + Default>(
        &self,
        key: &str,
        spot: SpannedValue<T>,
        least: &str,
        problems: &mut ProblemCollector,
    ) -> Option<SpannedValue<T>> {
        if spot.value == T::default() {
            let help = format!("expected at least \"{least}\"");
            problems.add_error(
                &spot.span,
                format!("`{key}` {} is zero", self.description),
                help,
            );
            return None;
        }
        Some(spot)
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn read_integer(
        &self,
        key: &str,
        least: u64,
        most: u64,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<u64> {
        let value = self.table.get(key)?;
        let expected = format!("a whole number from {least} to {most}");
        let DeValue::Integer(number) = value.get_ref() else {
            return self.report_wrong_type(key, value, &expected, cx);
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let within = number.filter(|number| (least..=most).contains(number));
        if within.is_none() {
            let got = quote(&cx.text[value.span()]);
            let message = format!("`{key}` {} is {got}, out of bounds", self.description);
            cx.problems
                .add_error(&value.span(), message, format!("expected {expected}"));
        }
        within
    }

    /// `true` or `false`.
    pub(crate) fn read_boolean(&self, key: &str, cx: &mut ConfigLoader<'_>) -> Option<bool> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.report_wrong_type(key, value, "`true` or `false`", cx),
        }
    }

    /// Strings; those that are none are problems and left out.
    pub(crate) fn read_strings(
        &self,
        key: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<Vec<SpannedStr>>> {
        let value = self.table.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            return self.report_wrong_type(
                key,
                value,
                "a list of strings, such as [\"a\", \"b\"]",
                cx,
            );
        };
        let texts = array
            .iter()
            .filter_map(|item| self.read_string_value(key, item, "a string in quotes", cx))
            .collect();
        Some(SpannedValue {
            value: texts,
            span: value.span(),
        })
    }

    /// The table below `key`.
    pub(crate) fn read_table(
        &self,
        key: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<&'t DeTable<'i>>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(SpannedValue {
                value: table,
                span: value.span(),
            }),
            _ => self.report_wrong_type(key, value, "a table", cx),
        }
    }

    /// The tables below `key`; what is none is a problem and left out.
    pub(crate) fn read_tables(
        &self,
        key: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<SpannedValue<Vec<SpannedValue<&'t DeTable<'i>>>>> {
        let value = self.table.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            return self.report_wrong_type(
                key,
                value,
                "a list of tables, each begun by `[[…]]`",
                cx,
            );
        };
        let tables = self.collect_tables(key, array, cx);
        Some(SpannedValue {
            value: tables,
            span: value.span(),
        })
    }

    fn collect_tables(
        &self,
        key: &str,
        array: &'t DeArray<'i>,
        cx: &mut ConfigLoader<'_>,
    ) -> Vec<SpannedValue<&'t DeTable<'i>>> {
        let tables = array.iter().filter_map(|item| match item.get_ref() {
            DeValue::Table(table) => Some(SpannedValue {
                value: table,
                span: item.span(),
            }),
            _ => self.report_wrong_type(key, item, "a table", cx),
        });
        tables.collect()
    }

    /// Every key with its table; what is none is a problem and left out.
    pub(crate) fn read_named_tables(
        &self,
        what: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Vec<(SpannedValue<String>, SpannedValue<&'t DeTable<'i>>)> {
        let mut named = Vec::with_capacity(self.table.len());
        for (key, value) in self.table {
            let name = SpannedValue {
                value: key.get_ref().to_string(),
                span: key.span(),
            };
            if let DeValue::Table(table) = value.get_ref() {
                named.push((
                    name,
                    SpannedValue {
                        value: table,
                        span: value.span(),
                    },
                ));
            } else {
                let message = format!(
                    "{} {} is {}",
                    quote(&name.value),
                    self.description,
                    toml_type_name(value.get_ref())
                );
                cx.problems.add_error(
                    &value.span(),
                    message,
                    format!("expected a {what}, begun by `[…]` with its name"),
                );
            }
        }
        named
    }

    /// Every header with its value.
    pub(crate) fn read_headers(
        &self,
        cx: &mut ConfigLoader<'_>,
    ) -> Vec<(SpannedValue<String>, SpannedStr)> {
        let mut named = Vec::with_capacity(self.table.len());
        for (key, value) in self.table {
            let name = SpannedValue {
                value: key.get_ref().to_string(),
                span: key.span(),
            };
            match self.read_string_value(&name.value, value, "a string in quotes", cx) {
                Some(text) => named.push((name, text)),
                // A header's value is a secret even where it is none.
                None => cx
                    .secrets
                    .extend(cx.text.get(value.span()).map(str::to_owned)),
            }
        }
        named
    }

    fn report_wrong_type<T>(
        &self,
        key: &str,
        value: TomlValue<'_, '_>,
        expected: &str,
        cx: &mut ConfigLoader<'_>,
    ) -> Option<T> {
        let what = describe_value(value, cx.text);
        let message = format!("{} {} is {what}", quote(key), self.description);
        cx.problems
            .add_error(&value.span(), message, format!("expected {expected}"));
        None
    }
}

/// What a key that nobody knows may have been meant to be.
fn unknown_key_help(got: &str, keys: &[&str]) -> String {
    if let Some(near) = closest_match(got, keys.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    match crate::config::expected_section(got) {
        Some(home) => format!("`{got}` belongs {home}"),
        None => format!("known here: {}", keys.join(", ")),
    }
}

/// A value's type, and the value itself if it is short by nature.
fn describe_value(value: TomlValue<'_, '_>, text: &str) -> String {
    let kind = toml_type_name(value.get_ref());
    match value.get_ref() {
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => kind.to_owned(),
        _ => format!("{kind}: {}", quote(&text[value.span()])),
    }
}

/// A value's type, as messages call it.
fn toml_type_name(value: &DeValue<'_>) -> &'static str {
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
