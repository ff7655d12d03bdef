//! Reads the tables of the file by the declarations of their keys. Unknown keys and invalid values become problems.

use std::ops::RangeInclusive;

use serde_json::Number;
use toml::de::{DeArray, DeTable, DeValue};

use crate::text::quote;

use super::keys::{Key, Kind, Section, find_key, unknown_key_help};
use super::loader::ConfigLoader;
use super::problems::ValueError;
use super::secrets::names_credential;
use super::span::{Span, SpannedStr};
use super::table::{Table, Value};
use super::text_values::parse_text_value;
use super::urls::parse_url;

type TomlValue<'i> = toml::Spanned<DeValue<'i>>;

/// The values of the top-level table, and of the tables below it.
pub(super) fn read_root(toml: &DeTable<'_>, loader: &mut ConfigLoader<'_>) -> Table {
    let root = Table::new(Section::Root, SpannedStr::default(), 0..0);
    read_table(root, toml, Section::Root.description(), loader)
}

/// Reads the values of a table into `table`, which a message calls `description`: ``source `btc` ``.
fn read_table(
    mut table: Table,
    toml: &DeTable<'_>,
    description: &str,
    loader: &mut ConfigLoader<'_>,
) -> Table {
    let mut reader = ValueReader {
        loader,
        description,
    };
    for (name, toml) in toml {
        if let Some(key) = find_key(table.section, name.get_ref()) {
            let value = reader.read_value(key, toml);
            table.insert(key, toml.span(), value);
        } else {
            let message = format!("unknown key {} in {description}", quote(name.get_ref()));
            let help = unknown_key_help(name.get_ref(), table.section);
            reader.loader.error(&name.span(), &message, help);
        }
    }
    table
}

/// Reads the values of one table.
struct ValueReader<'l, 'c> {
    loader: &'l mut ConfigLoader<'c>,
    /// The table in a message.
    description: &'l str,
}

impl ValueReader<'_, '_> {
    fn read_value(&mut self, key: &Key, toml: &TomlValue<'_>) -> Option<Value> {
        let span = toml.span();
        match (key.kind, toml.get_ref()) {
            (Kind::Filter, DeValue::String(text)) => {
                Some(Value::Text(self.loader.add_filter(text, span, key.kind)))
            }
            (
                Kind::Text
                | Kind::Enum(_)
                | Kind::Url(_)
                | Kind::ProxyUrl
                | Kind::Duration
                | Kind::DurationOrZero
                | Kind::Size(_),
                DeValue::String(text),
            ) => {
                let text = self.loader.expand_text(text, span, key)?;
                self.parse_text(key, key.kind, text)
            }
            (Kind::Integer(min, max), DeValue::Integer(_)) => {
                self.read_integer(key, toml, min..=max).map(Value::Integer)
            }
            (Kind::Number, DeValue::Integer(_) | DeValue::Float(_)) => {
                self.read_number(key, toml).map(Value::Number)
            }
            (Kind::Boolean, DeValue::Boolean(value)) => Some(Value::Boolean(*value)),
            (Kind::TextList | Kind::EnumList(_), DeValue::Array(items)) => {
                let texts = items.iter().filter_map(|item| self.read_item(key, item));
                Some(Value::TextList(texts.collect()))
            }
            (Kind::IntegerList(min, max), DeValue::Array(items)) => {
                let numbers = items
                    .iter()
                    .filter_map(|item| self.read_integer(key, item, min..=max));
                Some(Value::IntegerList(numbers.collect()))
            }
            (Kind::TextTable | Kind::FilterTable | Kind::FieldTable, DeValue::Table(toml)) => {
                let description = format!("`{}` of {}", key.name, self.description);
                let mut reader = ValueReader {
                    loader: self.loader,
                    description: &description,
                };
                Some(Value::TextTable(reader.read_text_table(key, toml)))
            }
            (Kind::Table(section), DeValue::Table(toml)) => {
                let table = Table::new(section, SpannedStr::default(), span);
                let table = read_table(table, toml, section.description(), self.loader);
                Some(Value::Tables(vec![table]))
            }
            (Kind::NamedTables(section), DeValue::Table(toml)) => {
                let description = format!("`[{}]`", key.name);
                let mut reader = ValueReader {
                    loader: self.loader,
                    description: &description,
                };
                let tables = reader.read_named_tables(section, toml);
                // Without this, a second problem would follow: that no source is defined.
                (toml.is_empty() || !tables.is_empty()).then_some(Value::Tables(tables))
            }
            (Kind::TableList(section), DeValue::Array(items)) => {
                let tables = self.read_table_list(key.name, section, items);
                Some(Value::Tables(tables))
            }
            (kind, _) => self.wrong_type(key.name, toml, &kind.expected()),
        }
    }

    fn parse_text(&mut self, key: &Key, kind: Kind, text: SpannedStr) -> Option<Value> {
        match kind {
            Kind::Url(_) if text.value.is_empty() && key.default == r#""""# => {
                Some(Value::Text(text))
            }
            Kind::ProxyUrl if matches!(&*text.value, "" | "env") => Some(Value::Text(text)),
            Kind::ProxyUrl => self.parse_url_value(text, &["http"]),
            Kind::Url(schemes) => self.parse_url_value(text, schemes),
            kind => match parse_text_value(kind, &text) {
                Ok(value) => Some(value),
                Err(ValueError { message, help }) => {
                    let what = format!("is {text}, which {message}");
                    self.report(key.name, &text.span, &what, &help);
                    None
                }
            },
        }
    }

    fn parse_url_value(&mut self, text: SpannedStr, schemes: &[&str]) -> Option<Value> {
        let url = parse_url(&text, schemes, self.loader)?;
        Some(Value::Url(text, url))
    }

    fn read_named_tables(&mut self, section: Section, toml: &DeTable<'_>) -> Vec<Table> {
        let (_, kind) = section.description().split_once(' ').unwrap_or_default();
        let tables = toml.iter().filter_map(|(name, toml)| {
            // No expansion: names are labels of metrics and keys of the answer, so they stand in
            // the file.
            let name = SpannedStr::literal(name.get_ref(), name.span());
            let DeValue::Table(inner) = toml.get_ref() else {
                let expected = format!("a table with the keys of a {kind}");
                return self.wrong_type(&name.value, toml, &expected);
            };
            let description = format!("{kind} {name}");
            let table = Table::new(section, name, toml.span());
            Some(read_table(table, inner, &description, self.loader))
        });
        tables.collect()
    }

    fn read_table_list(&mut self, name: &str, section: Section, items: &DeArray<'_>) -> Vec<Table> {
        let description = format!("{} of {}", section.description(), self.description);
        let tables = items.iter().filter_map(|item| {
            let DeValue::Table(inner) = item.get_ref() else {
                return self.wrong_type(name, item, "a table");
            };
            let table = Table::new(section, SpannedStr::default(), item.span());
            Some(read_table(table, inner, &description, self.loader))
        });
        tables.collect()
    }

    fn read_text_table(&mut self, key: &Key, toml: &DeTable<'_>) -> Vec<(SpannedStr, SpannedStr)> {
        let mut texts = Vec::with_capacity(toml.len());
        for (name, toml) in toml {
            let name = SpannedStr::literal(name.get_ref(), name.span());
            let items = match toml.get_ref() {
                DeValue::Array(items) if key.kind == Kind::FieldTable => &items[..],
                _ => std::slice::from_ref(toml),
            };
            for item in items {
                if let Some(text) = self.read_text(key, &name.value, item) {
                    texts.push((name.clone(), text));
                } else if let Some(written) = self.loader.text.get(item.span()) {
                    // A header's value may be a secret although its type is wrong.
                    self.loader.secrets.push(written.to_owned());
                }
            }
        }
        texts
    }

    /// The text of an item or of a table of texts; `name` is the name in a message. A number in a table of fields is
    /// its digits.
    fn read_text(&mut self, key: &Key, name: &str, toml: &TomlValue<'_>) -> Option<SpannedStr> {
        match toml.get_ref() {
            DeValue::String(text) if key.kind == Kind::FilterTable => {
                Some(self.loader.add_filter(text, toml.span(), key.kind))
            }
            DeValue::String(text) => self.loader.expand_text(text, toml.span(), key),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)
                if key.kind == Kind::FieldTable =>
            {
                let written = &self.loader.text[toml.span()];
                Some(SpannedStr::literal(written, toml.span()))
            }
            _ if key.kind == Kind::FieldTable => {
                self.wrong_type(name, toml, "a string, a number, `true` or `false`")
            }
            _ => self.wrong_type(name, toml, &Kind::Text.expected()),
        }
    }

    /// A text of a list.
    fn read_item(&mut self, key: &Key, toml: &TomlValue<'_>) -> Option<SpannedStr> {
        let text = self.read_text(key, key.name, toml)?;
        let Kind::EnumList(words) = key.kind else {
            return Some(text);
        };
        match self.parse_text(key, Kind::Enum(words), text)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn read_integer(
        &mut self,
        key: &Key,
        toml: &TomlValue<'_>,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let DeValue::Integer(number) = toml.get_ref() else {
            return self.wrong_type(key.name, toml, &key.kind.expected());
        };
        // A TOML integer may be hexadecimal, octal or binary, and has any number of digits.
        let number = u64::from_str_radix(number.as_str(), number.radix());
        let number = number.ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let written = quote(&self.loader.text[toml.span()]);
            let help = format!("expected {}", key.kind.expected());
            let what = format!("is {written}, which is out of bounds");
            self.report(key.name, &toml.span(), &what, &help);
        }
        number
    }

    /// A number with the digits of the file. `inf`, `nan` and numbers of another radix are none.
    fn read_number(&mut self, key: &Key, toml: &TomlValue<'_>) -> Option<Number> {
        let written = self.loader.text[toml.span()].replace('_', "");
        let number = serde_json::from_str(written.trim_start_matches('+')).ok();
        if number.is_none() {
            let what = format!("is {}, which is not accepted", quote(&written));
            self.report(
                key.name,
                &toml.span(),
                &what,
                "expected a number, such as 80 or 0.5",
            );
        }
        number
    }

    fn wrong_type<T>(&mut self, name: &str, toml: &TomlValue<'_>, expected: &str) -> Option<T> {
        let type_name = match toml.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let what = match toml.get_ref() {
            DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => format!("is {type_name}"),
            _ if names_credential(name) => format!("is {type_name}"),
            _ => format!("is {type_name}: {}", quote(&self.loader.text[toml.span()])),
        };
        self.report(name, &toml.span(), &what, &format!("expected {expected}"));
        None
    }

    fn report(&mut self, name: &str, span: &Span, what: &str, help: &str) {
        let message = format!("{} in {} {what}", quote(name), self.description);
        self.loader.error(span, &message, help);
    }
}
