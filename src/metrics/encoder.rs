//! The text format of Prometheus, version 0.0.4, written by hand: the numbers live in per-thread counters and in the
//! snapshot, and there is nothing to register.

use std::fmt::{self, Display, Write};

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct MetricsEncoder(String);

/// What kind of number a family holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MetricType {
    Counter,
    Gauge,
    Histogram,
}

impl MetricsEncoder {
    /// Begins a family.
    pub(crate) fn begin_family(&mut self, name: &str, kind: MetricType, help: &str) {
        let kind = match kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        };
        // Writing to a text cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Adds one sample of the family begun last.
    pub(crate) fn write_sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", EscapedLabelValue(text));
        }
        let _ = writeln!(
            self.0,
            "{} {value}",
            if labels.is_empty() { "" } else { "}" }
        );
    }

    /// Adds a family of one sample.
    pub(crate) fn write_metric(
        &mut self,
        name: &str,
        kind: MetricType,
        help: &str,
        value: impl Display,
    ) {
        self.begin_family(name, kind, help);
        self.write_sample(name, &[], value);
    }

    /// Adds a histogram: `counts` by upper bound in microseconds, the last one beyond all bounds.
    pub(crate) fn write_histogram(
        &mut self,
        name: &str,
        label: (&str, &str),
        bounds: &[u64],
        counts: &[u64],
        micros: u64,
    ) {
        let mut sum = 0;
        let bucket = format!("{name}_bucket");
        for (at, count) in counts.iter().enumerate() {
            sum += count;
            let bound = bounds.get(at).map_or_else(
                || "+Inf".to_owned(),
                |bound| MicrosAsSeconds(*bound).to_string(),
            );
            self.write_sample(&bucket, &[label, ("le", &bound)], sum);
        }
        self.write_sample(&format!("{name}_sum"), &[label], MicrosAsSeconds(micros));
        self.write_sample(&format!("{name}_count"), &[label], sum);
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Microseconds as seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MicrosAsSeconds(pub(crate) u64);

impl Display for MicrosAsSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1e6)
    }
}

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
        let mut page = MetricsEncoder::default();
        page.begin_family("a_total", MetricType::Counter, "What a is.");
        page.write_sample("a_total", &[("x", "1\\2\"3\n"), ("y", "z")], 7);
        page.write_metric("b", MetricType::Gauge, "What b is.", 0.5);
        page.begin_family("c", MetricType::Histogram, "What c is.");
        page.write_histogram("c", ("r", "/"), &[100, 2_500_000], &[1, 2, 3], 7_000_000);
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total{x=\"1\\\\2\\\"3\\n\",y=\"z\"} 7\n\
            # HELP b What b is.\n# TYPE b gauge\nb 0.5\n\
            # HELP c What c is.\n# TYPE c histogram\n\
            c_bucket{r=\"/\",le=\"0.0001\"} 1\nc_bucket{r=\"/\",le=\"2.5\"} 3\nc_bucket{r=\"/\",le=\"+Inf\"} 6\n\
            c_sum{r=\"/\"} 7\nc_count{r=\"/\"} 6\n";
        assert_eq!(page.into_text(), expected);
    }
}
