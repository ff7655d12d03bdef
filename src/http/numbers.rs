//! The numbers in a source's data, each under its dotted path.
//!
//! Read from the text, level by level: as a [`serde_json::Value`], an object of a provider could pass for a number, since
//! that is how the library hands on digits that no double holds.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::domain::Data;

/// The most numbers of one source that are told: a provider must not fill whoever keeps them.
const MOST: usize = 10_000;

/// The longest path, in bytes.
const LONGEST_PATH: usize = 256;

/// The numbers of a source.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Each with its dotted path, in the order of the data.
    pub(super) found: Vec<(String, Number)>,
    /// How many there are beside these.
    pub(super) left_out: usize,
}

/// The numbers in `data`, but for those that a double cannot hold, those beyond [`MOST`] or with a path beyond
/// [`LONGEST_PATH`], and, since a key may have a dot in it, those whose path was there before: two samples of one series
/// would make Prometheus refuse the page.
pub(super) fn numbers(data: &Data) -> Numbers {
    let mut search = Search::default();
    // What is stored was checked when it came.
    let _ = search.below(data.as_json());
    search.numbers
}

#[derive(Default)]
struct Search {
    numbers: Numbers,
    /// The paths so far.
    seen: HashSet<String>,
    /// Where the search is.
    path: String,
}

impl Search {
    /// The depth of data is limited where it comes in.
    fn below(&mut self, json: &str) -> serde_json::Result<()> {
        match json.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(json)?;
                members
                    .into_iter()
                    .try_for_each(|(key, value)| self.at(&key, value))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(json)?;
                items
                    .into_iter()
                    .enumerate()
                    .try_for_each(|(at, item)| self.at(&at.to_string(), item))
            }
            Some(b'-' | b'0'..=b'9') => {
                self.take(&serde_json::from_str(json)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at(&mut self, key: &str, value: &RawValue) -> serde_json::Result<()> {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let done = self.below(value.get());
        self.path.truncate(length);
        done
    }

    fn take(&mut self, number: &Number) {
        let told = self.numbers.found.len() < MOST
            && self.path.len() <= LONGEST_PATH
            // One number beyond double precision would make Prometheus refuse a whole page.
            && number.as_f64().is_some_and(f64::is_finite)
            && self.seen.insert(self.path.clone());
        if told {
            self.numbers.found.push((self.path.clone(), number.clone()));
        } else {
            self.numbers.left_out += 1;
        }
    }
}

/// An object's members, in their order.
struct Members<'j>(Vec<(String, &'j RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_with_their_paths() {
        let json = r#"{"usd": 97123.450, "a": {"b": [1, "x", {"c": 2e3}]}, "t": true, "huge": 1e400, "a.b.0": 7}"#;
        let Numbers { found, left_out } = numbers(&Data::from_checked(json));
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
    fn no_object_passes_for_a_number_and_none_hides_the_others() {
        for token in ["Number", "RawValue"] {
            let json = format!(
                r#"{{"price":{{"$serde_json::private::{token}":"99"}},"bad":{{"$serde_json::private::{token}":"[1,"}},"real":7}}"#
            );
            let Numbers { found, left_out } = numbers(&Data::from_checked(json));
            assert_eq!(
                (found.len(), left_out, found[0].0.as_str()),
                (1, 0, "real"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_provider_cannot_name_series_without_end() {
        let many = format!("[{}]", vec!["1"; MOST + 7].join(","));
        let Numbers { found, left_out } = numbers(&Data::from_checked(many));
        assert_eq!((found.len(), left_out), (MOST, 7));
        let long = format!(
            "{{\"{}\": 1, \"{}\": 2}}",
            "k".repeat(LONGEST_PATH),
            "k".repeat(LONGEST_PATH + 1)
        );
        let Numbers { found, left_out } = numbers(&Data::from_checked(long));
        assert_eq!((found.len(), left_out), (1, 1));
    }
}
