//! Encoder for the Prometheus text format, version 0.0.4.
//!
//! The values live in per-thread counters and in the snapshot, so there is no registry of
//! instruments to encode.

use std::fmt::{self, Display, Write};

/// The text of a metrics page, built family by family.
#[derive(Debug, Default)]
pub(crate) struct MetricsEncoder(String);

/// The type of a metric family.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MetricType {
    Counter,
    Gauge,
    Histogram,
}

impl MetricsEncoder {
    /// Writes the `HELP` and `TYPE` lines of a family.
    pub(crate) fn begin_family(&mut self, name: &str, metric_type: MetricType, help: &str) {
        let metric_type = match metric_type {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        };
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(
            self.0,
            "# HELP {name} {help}\n# TYPE {name} {metric_type}\n"
        );
    }

    /// Writes one sample of the family that was begun last.
    pub(crate) fn write_sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{separator}{label}=\"{}\"", EscapedLabelValue(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// Writes a family of one sample without labels.
    pub(crate) fn write_metric(
        &mut self,
        name: &str,
        metric_type: MetricType,
        help: &str,
        value: impl Display,
    ) {
        self.begin_family(name, metric_type, help);
        self.write_sample(name, &[], value);
    }

    /// Writes the samples of a histogram. `bounds` are upper bounds in microseconds; `counts` has
    /// one more entry, for values above every bound.
    pub(super) fn write_histogram(
        &mut self,
        name: &str,
        label: (&str, &str),
        bounds: &[u64],
        counts: &[u64],
        total_micros: u64,
    ) {
        // In the text format each bucket includes all smaller ones; the counters are per bucket.
        let mut cumulative = 0;
        let bucket = format!("{name}_bucket");
        for (index, count) in counts.iter().enumerate() {
            cumulative += count;
            let bound = bounds.get(index).map_or_else(
                || "+Inf".to_owned(),
                |bound| micros_to_seconds(*bound).to_string(),
            );
            self.write_sample(&bucket, &[label, ("le", &bound)], cumulative);
        }
        let sum = micros_to_seconds(total_micros);
        self.write_sample(&format!("{name}_sum"), &[label], sum);
        self.write_sample(&format!("{name}_count"), &[label], cumulative);
    }

    /// The finished page.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// The histogram bucket of a value: the first whose upper bound is not below it, else the one after
/// the last bound.
pub(super) fn bucket_index(bounds: &[u64], value: u64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

/// Milliseconds as seconds.
pub(crate) fn millis_to_seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

fn micros_to_seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Displays a label's value with backslash, quote and line feed escaped.
struct EscapedLabelValue<'t>(&'t str);

impl Display for EscapedLabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoder_writes_text_format() {
        let mut encoder = MetricsEncoder::default();
        encoder.begin_family("a_total", MetricType::Counter, "What a is.");
        encoder.write_sample("a_total", &[("x", "1\\2\"3\n"), ("y", "z")], 7);
        encoder.write_metric("b", MetricType::Gauge, "What b is.", 0.5);
        encoder.begin_family("c", MetricType::Histogram, "What c is.");
        encoder.write_histogram("c", ("r", "/"), &[100, 2_500_000], &[1, 2, 3], 7_000_000);
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total{x=\"1\\\\2\\\"3\\n\",y=\"z\"} 7\n\
            # HELP b What b is.\n# TYPE b gauge\nb 0.5\n\
            # HELP c What c is.\n# TYPE c histogram\n\
            c_bucket{r=\"/\",le=\"0.0001\"} 1\nc_bucket{r=\"/\",le=\"2.5\"} 3\nc_bucket{r=\"/\",le=\"+Inf\"} 6\n\
            c_sum{r=\"/\"} 7\nc_count{r=\"/\"} 6\n";
        assert_eq!(encoder.into_text(), expected);
    }

    #[test]
    fn value_at_bound_is_in_its_bucket() {
        let bounds = [100, 250];
        assert_eq!(
            [100, 101, 250, 251].map(|v| bucket_index(&bounds, v)),
            [0, 1, 1, 2]
        );
    }
}
