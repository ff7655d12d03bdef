//! The numbers in a source's data, each under its dotted path.

use std::collections::HashSet;

use serde_json::{Number, Value};

use crate::domain::Data;

/// Each number in `data` that a double can hold, with its dotted path, in the order of the data. A key may have a dot in
/// it, so that two numbers have the same path: then the first one counts, since two samples of one series would make
/// Prometheus refuse the page.
pub(super) fn numbers(data: &Data) -> Vec<(String, Number)> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(data.as_json()) {
        collect(&value, &mut String::new(), &mut found);
    }
    let mut seen = HashSet::new();
    found.retain(|(path, _)| seen.insert(path.clone()));
    found
}

/// The depth of data is limited where it comes in.
fn collect(value: &Value, path: &mut String, found: &mut Vec<(String, Number)>) {
    let mut below = |key: &str, value: &Value, path: &mut String| {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        collect(value, path, found);
        path.truncate(length);
    };
    match value {
        // One number beyond double precision would make Prometheus refuse a whole page.
        Value::Number(number) if number.as_f64().is_some_and(f64::is_finite) => {
            found.push((path.clone(), number.clone()));
        }
        Value::Object(members) => members.iter().for_each(|(key, value)| below(key, value, path)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| below(&at.to_string(), item, path)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_with_their_paths() {
        let json = r#"{"usd": 97123.450, "a": {"b": [1, "x", {"c": 2e3}]}, "t": true, "huge": 1e400, "a.b.0": 7}"#;
        let found: Vec<_> = numbers(&Data::from_checked(json)).into_iter().map(|(p, n)| (p, n.to_string())).collect();
        let expected = [("usd", "97123.450"), ("a.b.0", "1"), ("a.b.2.c", "2e+3")];
        assert_eq!(found, expected.map(|(path, number)| (path.to_owned(), number.to_owned())));
    }
}
