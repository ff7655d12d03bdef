//! Time series of one source: its recent numbers, in columns that share their times.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::domain::{ClockShift, Time};

/// Maximum number of readings.
const MAX_READINGS: usize = 120;

/// Maximum number of columns; the page shows no more rows.
const MAX_COLUMNS: usize = 12;

/// The recent numbers of one source.
#[derive(Debug, Default)]
pub(super) struct SourceSeries {
    /// `fetched_at` of each reading, oldest first.
    times: VecDeque<Time>,
    columns: Vec<SeriesColumn>,
}

/// The values of one number.
#[derive(Debug)]
struct SeriesColumn {
    /// Dotted path of the number in the data.
    path: String,
    /// One value per time; `None` if the reading has no such number.
    values: VecDeque<Option<f64>>,
}

impl SourceSeries {
    /// Whether the series has a reading fetched at `fetched_at` or later.
    pub(super) fn is_recorded(&self, fetched_at: Time) -> bool {
        self.times.back().is_some_and(|last| *last >= fetched_at)
    }

    /// Adds the numbers of a reading that is newer than every other.
    pub(super) fn push_reading(&mut self, fetched_at: Time, numbers: &[(String, f64)]) {
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
                // A column that begins later is filled up with gaps, so that all columns align.
                let mut values: VecDeque<_> = self.times.iter().map(|_| None).collect();
                values.push_back(Some(*value));
                self.columns.push(SeriesColumn {
                    path: path.clone(),
                    values,
                });
            }
        }
        self.times.push_back(fetched_at);
        self.evict_old();
    }

    /// Appends `{"times": […], "values": {path: […]}}` to `out`, with times shifted by `shift`.
    pub(super) fn write_json(&self, out: &mut String, shift: ClockShift) {
        out.push_str(r#"{"times":"#);
        let times = self.times.iter().map(|time| shift.apply(*time));
        write_json_array(out, times.map(|time| Some(time.as_millis())));
        out.push_str(r#","values":{"#);
        for (index, column) in self.columns.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{}:",
                serde_json::Value::from(column.path.as_str())
            );
            write_json_array(out, column.values.iter().copied());
        }
        out.push_str("}}");
    }

    /// Removes the oldest reading beyond [`MAX_READINGS`], columns without values, and beyond
    /// [`MAX_COLUMNS`] the columns that have been without a value for longest.
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
            let trailing_gaps = |column: &SeriesColumn| {
                column
                    .values
                    .iter()
                    .rev()
                    .take_while(|value| value.is_none())
                    .count()
            };
            let longest_absent = (0..self.columns.len())
                .max_by_key(|index| trailing_gaps(&self.columns[*index]))
                .unwrap_or(0);
            self.columns.remove(longest_absent);
        }
    }
}

fn write_json_array<T: std::fmt::Display>(
    out: &mut String,
    items: impl Iterator<Item = Option<T>>,
) {
    out.push('[');
    for (index, item) in items.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Writing to a `String` cannot fail.
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

    fn push_numbers(series: &mut SourceSeries, at: i64, numbers: &[(&str, f64)]) {
        let numbers: Vec<_> = numbers
            .iter()
            .map(|(path, value)| ((*path).to_owned(), *value))
            .collect();
        series.push_reading(Time::from_millis(at), &numbers);
    }

    fn series_json(series: &SourceSeries) -> String {
        let mut out = String::new();
        series.write_json(&mut out, ClockShift::default());
        out
    }

    #[test]
    fn columns_align_with_times() {
        let mut series = SourceSeries::default();
        push_numbers(&mut series, 1, &[("a", 1.0)]);
        push_numbers(&mut series, 2, &[("b\"", 2.5)]);
        push_numbers(&mut series, 3, &[("a", 3.0), ("b\"", -1e-7)]);
        let expected = r#"{"times":[1,2,3],"values":{"a":[1,null,3],"b\"":[null,2.5,-0.0000001]}}"#;
        assert_eq!(series_json(&series), expected);
        assert!(
            series.is_recorded(Time::from_millis(3)) && !series.is_recorded(Time::from_millis(4))
        );
    }

    #[test]
    fn old_readings_are_evicted() {
        let mut series = SourceSeries::default();
        push_numbers(&mut series, 0, &[("gone", 1.0)]);
        (1..=120).for_each(|at| push_numbers(&mut series, at, &[("a", 1.0)]));
        assert_eq!(series.times.len(), MAX_READINGS);
        assert_eq!(series.times.front(), Some(&Time::from_millis(1)));
        assert!(!series_json(&series).contains("gone"));
    }

    #[test]
    fn changing_paths_are_bounded() {
        let mut series = SourceSeries::default();
        for at in 0..100 {
            let path = format!("p{at}");
            push_numbers(&mut series, at, &[(&path, 1.0), ("steady", 2.0)]);
        }
        assert_eq!(series.columns.len(), MAX_COLUMNS);
        assert!(series_json(&series).contains("steady") && series_json(&series).contains("p99"));
    }
}
