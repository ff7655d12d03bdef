//! The numbers in a source's data, each under its dotted path.
//!
//! The JSON text is read level by level. A [`serde_json::Value`] would not do: with
//! `arbitrary_precision`, `serde_json` represents a number as an object with a private key, and a
//! provider could send that object.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::domain::JsonData;

/// Maximum numbers of one source that are looked at.
const MAX_NUMBERS: usize = 10_000;

/// Maximum length of a path, in bytes.
const MAX_PATH_BYTES: usize = 256;

/// The numbers in one source's data.
#[derive(Debug, Default)]
pub(crate) struct ExtractedNumbers {
    /// Each with its dotted path, in the order of the data.
    pub(crate) by_path: Vec<(String, f64)>,
    /// How many numbers were left out.
    pub(crate) omitted_count: usize,
}

/// Returns the numbers in `data`. Left out are numbers beyond the range of a double, beyond
/// [`MAX_NUMBERS`], with a path longer than [`MAX_PATH_BYTES`], or with a path seen before: a key
/// may contain a dot, and Prometheus rejects a page with two samples of one series.
pub(super) fn collect_numbers(data: &JsonData) -> ExtractedNumbers {
    let mut collector = NumberCollector::default();
    // Stored data is valid JSON: it was checked when the reading was made.
    let _ = collector.visit_json(data.as_json());
    collector.numbers
}

#[derive(Default)]
struct NumberCollector {
    numbers: ExtractedNumbers,
    /// Paths of the numbers collected so far.
    seen_paths: HashSet<String>,
    /// Path of the value being visited.
    current_path: String,
}

impl NumberCollector {
    /// Collects the numbers in `json`. The recursion is bounded: `extract` limits the depth of
    /// data.
    fn visit_json(&mut self, json: &str) -> serde_json::Result<()> {
        match json.as_bytes().first() {
            Some(b'{') => {
                let OrderedMembers(members) = serde_json::from_str(json)?;
                members
                    .into_iter()
                    .try_for_each(|(key, value)| self.visit_member(&key, value))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(json)?;
                items
                    .into_iter()
                    .enumerate()
                    .try_for_each(|(index, item)| self.visit_member(&index.to_string(), item))
            }
            Some(b'-' | b'0'..=b'9') => {
                self.record_number(&serde_json::from_str(json)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn visit_member(&mut self, key: &str, value: &RawValue) -> serde_json::Result<()> {
        let length = self.current_path.len();
        if length > 0 {
            self.current_path.push('.');
        }
        self.current_path.push_str(key);
        let result = self.visit_json(value.get());
        self.current_path.truncate(length);
        result
    }

    fn record_number(&mut self, number: &Number) {
        // One infinite sample would make Prometheus reject the whole page.
        let finite = number.as_f64().filter(|value| value.is_finite());
        let is_exported = self.numbers.by_path.len() < MAX_NUMBERS
            && self.current_path.len() <= MAX_PATH_BYTES
            && finite.is_some()
            && self.seen_paths.insert(self.current_path.clone());
        match finite.filter(|_| is_exported) {
            Some(value) => {
                let path = self.current_path.clone();
                self.numbers.by_path.push((path, value));
            }
            None => self.numbers.omitted_count += 1,
        }
    }
}

/// An object's members in the order of the text, duplicates included.
struct OrderedMembers<'j>(Vec<(String, &'j RawValue)>);

impl<'de> Deserialize<'de> for OrderedMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedMembersVisitor;
        impl<'de> Visitor<'de> for OrderedMembersVisitor {
            type Value = OrderedMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(OrderedMembers(members))
            }
        }
        deserializer.deserialize_map(OrderedMembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_dotted_paths() {
        let json = r#"{"usd": 97123.450, "a": {"b": [1, "x", {"c": 2e3}]}, "t": true, "huge": 1e400, "a.b.0": 7}"#;
        let ExtractedNumbers {
            by_path: numbers,
            omitted_count,
        } = collect_numbers(&JsonData::from_checked(json));
        let expected = [("usd", 97123.45), ("a.b.0", 1.0), ("a.b.2.c", 2000.0)];
        assert_eq!(
            numbers,
            expected.map(|(path, number)| (path.to_owned(), number.to_owned()))
        );
        assert_eq!(omitted_count, 2);
    }

    #[test]
    fn object_is_never_a_number() {
        for token in ["Number", "RawValue"] {
            let json = format!(
                r#"{{"price":{{"$serde_json::private::{token}":"99"}},"bad":{{"$serde_json::private::{token}":"[1,"}},"real":7}}"#
            );
            let ExtractedNumbers {
                by_path: numbers,
                omitted_count,
            } = collect_numbers(&JsonData::from_checked(json));
            assert_eq!(
                (numbers.len(), omitted_count, numbers[0].0.as_str()),
                (1, 0, "real"),
                "{numbers:?}"
            );
        }
    }

    #[test]
    fn numbers_are_limited() {
        let many = format!("[{}]", vec!["1"; MAX_NUMBERS + 7].join(","));
        let ExtractedNumbers {
            by_path: numbers,
            omitted_count,
        } = collect_numbers(&JsonData::from_checked(many));
        assert_eq!((numbers.len(), omitted_count), (MAX_NUMBERS, 7));
        let long = format!(
            "{{\"{}\": 1, \"{}\": 2}}",
            "k".repeat(MAX_PATH_BYTES),
            "k".repeat(MAX_PATH_BYTES + 1)
        );
        let ExtractedNumbers {
            by_path: numbers,
            omitted_count,
        } = collect_numbers(&JsonData::from_checked(long));
        assert_eq!((numbers.len(), omitted_count), (1, 1));
    }
}
