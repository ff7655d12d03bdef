//! The numbers in a source's data, each under its dotted path.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::domain::JsonData;
use crate::text::visit_scalars;

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
    let _ = visit_scalars(data.as_json(), &mut String::new(), &mut |path, text| {
        if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            collector.record_number(path, text);
        }
        ControlFlow::Continue(())
    });
    collector.numbers
}

#[derive(Default)]
struct NumberCollector {
    numbers: ExtractedNumbers,
    /// Paths of the numbers collected so far.
    seen_paths: HashSet<String>,
}

impl NumberCollector {
    fn record_number(&mut self, path: &str, text: &str) {
        // Every number of JSON is one of Rust.
        let number = text.parse::<f64>().ok();
        // One infinite sample would make Prometheus reject the whole page.
        let finite = number.filter(|value| value.is_finite());
        let is_exported = self.numbers.by_path.len() < MAX_NUMBERS
            && path.len() <= MAX_PATH_BYTES
            && finite.is_some()
            && self.seen_paths.insert(path.to_owned());
        match finite.filter(|_| is_exported) {
            Some(value) => self.numbers.by_path.push((path.to_owned(), value)),
            None => self.numbers.omitted_count += 1,
        }
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
