//! The recent numbers of one source, in columns.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::domain::Time;

/// The most readings that are remembered.
const MAX_READINGS: usize = 120;

/// The most numbers of one source that are remembered; the page shows no more rows.
pub(crate) const MAX_COLUMNS: usize = 12;

/// Readings of one source: when they were asked for, and each number in them by its dotted path.
#[derive(Debug, Default)]
pub(crate) struct SourceSeries {
    times: VecDeque<Time>,
    columns: Vec<SeriesColumn>,
}

#[derive(Debug)]
struct SeriesColumn {
    path: String,
    /// One for each of the times; none where a reading lacked the number.
    values: VecDeque<Option<f64>>,
}

impl SourceSeries {
    /// Whether a reading of `at` is remembered, or a later one.
    pub(crate) fn is_recorded(&self, at: Time) -> bool {
        self.times.back().is_some_and(|last| *last >= at)
    }

    /// Takes the numbers of a reading that it does not have.
    pub(crate) fn push_reading(&mut self, at: Time, numbers: &[(String, f64)]) {
        let numbers = &numbers[..numbers.len().min(MAX_COLUMNS)];
        for column in &mut self.columns {
            column.values.push_back(
                numbers
                    .iter()
                    .find(|(path, _)| *path == column.path)
                    .map(|(_, value)| *value),
            );
        }
        for (path, value) in numbers {
            if self.columns.iter().all(|column| column.path != *path) {
                let mut values: VecDeque<_> = self.times.iter().map(|_| None).collect();
                values.push_back(Some(*value));
                self.columns.push(SeriesColumn {
                    path: path.clone(),
                    values,
                });
            }
        }
        self.times.push_back(at);
        self.evict_old();
    }

    /// Adds `{"times": […], "values": {path: […]}}` to `out`.
    pub(crate) fn write_json(&self, out: &mut String) {
        out.push_str(r#"{"times":"#);
        write_json_array(out, self.times.iter().map(|at| Some(at.as_millis())));
        out.push_str(r#","values":{"#);
        for (at, column) in self.columns.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{}:",
                serde_json::Value::from(column.path.as_str())
            );
            write_json_array(out, column.values.iter().copied());
        }
        out.push_str("}}");
    }

    /// Drops what is too old, and then the columns in which nothing is left, longest unseen first.
    fn evict_old(&mut self) {
        if self.times.len() > MAX_READINGS {
            self.times.pop_front();
            for column in &mut self.columns {
                column.values.pop_front();
            }
        }
        self.columns
            .retain(|column| column.values.iter().any(Option::is_some));
        while self.columns.len() > MAX_COLUMNS {
            let unseen = |column: &SeriesColumn| {
                column
                    .values
                    .iter()
                    .rev()
                    .take_while(|value| value.is_none())
                    .count()
            };
            let longest = (0..self.columns.len())
                .max_by_key(|at| unseen(&self.columns[*at]))
                .unwrap_or(0);
            self.columns.remove(longest);
        }
    }
}

fn write_json_array<T: std::fmt::Display>(
    out: &mut String,
    items: impl Iterator<Item = Option<T>>,
) {
    out.push('[');
    for (at, item) in items.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = match item {
            Some(item) => write!(out, "{comma}{item}"),
            None => write!(out, "{comma}null"),
        };
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push_numbers(track: &mut SourceSeries, at: i64, numbers: &[(&str, f64)]) {
        let numbers: Vec<_> = numbers
            .iter()
            .map(|(path, value)| ((*path).to_owned(), *value))
            .collect();
        track.push_reading(Time::from_millis(at), &numbers);
    }

    fn series_json(track: &SourceSeries) -> String {
        let mut out = String::new();
        track.write_json(&mut out);
        out
    }

    #[test]
    fn columns_align_with_times() {
        let mut track = SourceSeries::default();
        push_numbers(&mut track, 1, &[("a", 1.0)]);
        push_numbers(&mut track, 2, &[("b\"", 2.5)]);
        push_numbers(&mut track, 3, &[("a", 3.0), ("b\"", -1e-7)]);
        let expected = r#"{"times":[1,2,3],"values":{"a":[1,null,3],"b\"":[null,2.5,-0.0000001]}}"#;
        assert_eq!(series_json(&track), expected);
        assert!(
            track.is_recorded(Time::from_millis(3)) && !track.is_recorded(Time::from_millis(4))
        );
    }

    #[test]
    fn old_readings_are_evicted() {
        let mut track = SourceSeries::default();
        push_numbers(&mut track, 0, &[("gone", 1.0)]);
        (1..=120).for_each(|at| push_numbers(&mut track, at, &[("a", 1.0)]));
        assert_eq!(track.times.len(), MAX_READINGS);
        assert_eq!(track.times.front(), Some(&Time::from_millis(1)));
        assert!(!series_json(&track).contains("gone"));
    }

    #[test]
    fn changing_paths_are_bounded() {
        let mut track = SourceSeries::default();
        for at in 0..100 {
            let path = format!("p{at}");
            push_numbers(&mut track, at, &[(&path, 1.0), ("steady", 2.0)]);
        }
        assert_eq!(track.columns.len(), MAX_COLUMNS);
        assert!(series_json(&track).contains("steady") && series_json(&track).contains("p99"));
    }
}
