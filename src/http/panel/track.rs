//! The recent numbers of one source, in columns.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::domain::Time;

/// The most readings that are remembered.
const READINGS: usize = 120;

/// The most numbers of one source that are remembered; the page shows no more rows.
pub(super) const COLUMNS: usize = 12;

/// Readings of one source: when they were asked for, and each number in them by its dotted path.
#[derive(Debug, Default)]
pub(super) struct Track {
    times: VecDeque<Time>,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    path: String,
    /// One for each of the times; none where a reading lacked the number.
    values: VecDeque<Option<f64>>,
}

impl Track {
    /// Whether a reading of `at` is remembered, or a later one.
    pub(super) fn has(&self, at: Time) -> bool {
        self.times.back().is_some_and(|last| *last >= at)
    }

    /// Takes the numbers of a reading that it does not have.
    pub(super) fn push(&mut self, at: Time, numbers: &[(String, f64)]) {
        let numbers = &numbers[..numbers.len().min(COLUMNS)];
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
                self.columns.push(Column {
                    path: path.clone(),
                    values,
                });
            }
        }
        self.times.push_back(at);
        self.forget();
    }

    /// Adds `{"times": […], "values": {path: […]}}` to `out`.
    pub(super) fn write(&self, out: &mut String) {
        out.push_str(r#"{"times":"#);
        list(out, self.times.iter().map(|at| Some(at.as_millis())));
        out.push_str(r#","values":{"#);
        for (at, column) in self.columns.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{}:",
                serde_json::Value::from(column.path.as_str())
            );
            list(out, column.values.iter().copied());
        }
        out.push_str("}}");
    }

    /// Drops what is too old, and then the columns in which nothing is left, longest unseen first.
    fn forget(&mut self) {
        if self.times.len() > READINGS {
            self.times.pop_front();
            for column in &mut self.columns {
                column.values.pop_front();
            }
        }
        self.columns
            .retain(|column| column.values.iter().any(Option::is_some));
        while self.columns.len() > COLUMNS {
            let unseen = |column: &Column| {
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

fn list<T: std::fmt::Display>(out: &mut String, items: impl Iterator<Item = Option<T>>) {
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

    fn push(track: &mut Track, at: i64, numbers: &[(&str, f64)]) {
        let numbers: Vec<_> = numbers
            .iter()
            .map(|(path, value)| ((*path).to_owned(), *value))
            .collect();
        track.push(Time::from_millis(at), &numbers);
    }

    fn text(track: &Track) -> String {
        let mut out = String::new();
        track.write(&mut out);
        out
    }

    #[test]
    fn columns_keep_step_with_the_times() {
        let mut track = Track::default();
        push(&mut track, 1, &[("a", 1.0)]);
        push(&mut track, 2, &[("b\"", 2.5)]);
        push(&mut track, 3, &[("a", 3.0), ("b\"", -1e-7)]);
        let expected = r#"{"times":[1,2,3],"values":{"a":[1,null,3],"b\"":[null,2.5,-0.0000001]}}"#;
        assert_eq!(text(&track), expected);
        assert!(track.has(Time::from_millis(3)) && !track.has(Time::from_millis(4)));
    }

    #[test]
    fn only_the_newest_readings_stay_and_empty_columns_go() {
        let mut track = Track::default();
        push(&mut track, 0, &[("gone", 1.0)]);
        (1..=120).for_each(|at| push(&mut track, at, &[("a", 1.0)]));
        assert_eq!(track.times.len(), READINGS);
        assert_eq!(track.times.front(), Some(&Time::from_millis(1)));
        assert!(!text(&track).contains("gone"));
    }

    #[test]
    fn paths_that_change_with_every_reading_do_not_pile_up() {
        let mut track = Track::default();
        for at in 0..100 {
            let path = format!("p{at}");
            push(&mut track, at, &[(&path, 1.0), ("steady", 2.0)]);
        }
        assert_eq!(track.columns.len(), COLUMNS);
        assert!(text(&track).contains("steady") && text(&track).contains("p99"));
    }
}
