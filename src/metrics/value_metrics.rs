//! The numbers in a source's data, each under its dotted path.
//!
//! Read from the text, level by level: as a [`serde_json::Value`], an object of a provider could pass for a number, since
//! that is how the library hands on digits that no double holds.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::domain::JsonData;

/// The most numbers of one source that are told: a provider must not fill whoever keeps them.
const MAX_NUMBERS: usize = 10_000;

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 256;

/// The numbers of a source.
#[derive(Debug, Default)]
pub(crate) struct ExtractedNumbers {
    /// Each with its dotted path, in the order of the data.
    pub(crate) by_path: Vec<(String, Number)>,
    /// How many there are beside these.
    pub(crate) omitted_count: usize,
}

/// The numbers in `data`, but for those that a double cannot hold, those beyond [`MOST`] or with a path beyond
/// [`LONGEST_PATH`], and, since a key may have a dot in it, those whose path was there before: two samples of one series
/// would make Prometheus refuse the page.
pub(crate) fn collect_numbers(data: &JsonData) -> ExtractedNumbers {
    let mut search = NumberCollector::default();
    // What is stored was checked when it came.
    let _ = search.visit_json(data.as_json());
    search.numbers
}

#[derive(Default)]
struct NumberCollector {
    numbers: ExtractedNumbers,
    /// The paths so far.
    seen_paths: HashSet<String>,
    /// Where the search is.
    current_path: String,
}

impl NumberCollector {
    /// The depth of data is limited where it comes in.
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
                    .try_for_each(|(at, item)| self.visit_member(&at.to_string(), item))
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
        let done = self.visit_json(value.get());
        self.current_path.truncate(length);
        done
    }

    fn record_number(&mut self, number: &Number) {
        let told = self.numbers.by_path.len() < MAX_NUMBERS
            && self.current_path.len() <= MAX_PATH_BYTES
            // One number beyond double precision would make Prometheus refuse a whole page.
            && number.as_f64().is_some_and(f64::is_finite)
            && self.seen_paths.insert(self.current_path.clone());
        if told {
            self.numbers
                .by_path
                .push((self.current_path.clone(), number.clone()));
        } else {
            self.numbers.omitted_count += 1;
        }
    }
}

/// An object's members, in their order.
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
            by_path: found,
            omitted_count: left_out,
        } = collect_numbers(&JsonData::from_checked(json));
        let found: Vec<_> = found
            .into_iter()
            .map(|(path, number)| (path, number.to_string()))
            .collect();
        let expected = [("usd", "97123.450"), ("a.b.0", "1"), ("a.b.2.c", "2e+3")];
        assert_eq!(
            found,
            expected.map(|(path, number)| (path.to_owned(), number.to_owned()))
        );
        assert_eq!(left_out, 2);
    }

    #[test]
    fn object_is_never_a_number() {
        for token in ["Number", "RawValue"] {
            let json = format!(
                r#"{{"price":{{"$serde_json::private::{token}":"99"}},"bad":{{"$serde_json::private::{token}":"[1,"}},"real":7}}"#
            );
            let ExtractedNumbers {
                by_path: found,
                omitted_count: left_out,
            } = collect_numbers(&JsonData::from_checked(json));
            assert_eq!(
                (found.len(), left_out, found[0].0.as_str()),
                (1, 0, "real"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn numbers_are_limited() {
        let many = format!("[{}]", vec!["1"; MAX_NUMBERS + 7].join(","));
        let ExtractedNumbers {
            by_path: found,
            omitted_count: left_out,
        } = collect_numbers(&JsonData::from_checked(many));
        assert_eq!((found.len(), left_out), (MAX_NUMBERS, 7));
        let long = format!(
            "{{\"{}\": 1, \"{}\": 2}}",
            "k".repeat(MAX_PATH_BYTES),
            "k".repeat(MAX_PATH_BYTES + 1)
        );
        let ExtractedNumbers {
            by_path: found,
            omitted_count: left_out,
        } = collect_numbers(&JsonData::from_checked(long));
        assert_eq!((found.len(), left_out), (1, 1));
    }
}
