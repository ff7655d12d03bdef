//! Metrics of the operator's choice that a source exports, and their series.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// One metric of a source, as configured. Each result of `each` is one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMetric {
    /// Name in the exposition, with `_total` if it is a counter.
    pub name: Arc<str>,
    /// One line that describes the metric. Empty if the operator gave none.
    pub help: Arc<str>,
    /// Type in the exposition.
    pub kind: MetricKind,
    /// jq filter over the source's data, with one result for each series.
    pub each: Arc<str>,
    /// jq filter over a result of `each` to a number, a boolean, or a text that is a number.
    pub value: Arc<str>,
    /// Labels and their jq filters over a result of `each`, sorted by name.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// Type of a metric of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that may go up and down.
    Gauge,
    /// A value that only grows, but for a restart of what it counts. Its name ends in `_total`.
    Counter,
}

/// One series of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSeries {
    /// Position of the metric among those of its source.
    pub metric: usize,
    /// Values of the metric's labels, in their order. An empty text is the same as no label.
    pub label_values: Vec<String>,
    /// Finite value.
    pub value: f64,
}

/// Series of a metric that are left out because a filter failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricFailure {
    /// Position of the metric among those of its source.
    pub metric: usize,
    /// Number of series left out, at least 1.
    pub count: u64,
    /// Why the first one failed, secrets redacted.
    pub message: String,
}

/// What the filters of a source's metrics gave for one reading.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricResults {
    /// In the order of the metrics, then of the results of `each`. Two may be equal.
    pub series: Vec<MetricSeries>,
    /// At most one for each metric, in the order of the metrics.
    pub failures: Vec<MetricFailure>,
    /// Number of series beyond the limits.
    pub omitted_count: usize,
}

impl MetricKind {
    /// All types, as the configuration spells them.
    pub const NAMES: &'static [&'static str] = &["gauge", "counter"];

    /// Returns the type's name in the configuration and in the exposition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

impl MetricSeries {
    /// Returns the series of one of `metrics` as text: `name{label="value"}`, its identity for Prometheus.
    pub fn identity(&self, metrics: &[SourceMetric]) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_identity(&metrics[self.metric], &mut text);
        text
    }

    fn write_identity(&self, metric: &SourceMetric, text: &mut String) -> fmt::Result {
        text.push_str(&metric.name);
        let names = metric.labels.iter().map(|(name, _)| name);
        let mut separator = '{';
        for (name, value) in names.zip(&self.label_values) {
            if value.is_empty() {
                continue;
            }
            write!(text, "{separator}{name}=\"")?;
            separator = ',';
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        if separator == ',' {
            text.push('}');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_escapes_label_values() {
        let metric = SourceMetric {
            name: "a".into(),
            help: "".into(),
            kind: MetricKind::Gauge,
            each: ".".into(),
            value: ".".into(),
            labels: ["b", "c", "d"]
                .map(|name| (name.into(), ".".into()))
                .to_vec(),
        };
        let identity = |values: [&str; 3]| {
            let series = MetricSeries {
                metric: 0,
                label_values: values.map(str::to_owned).to_vec(),
                value: 1.0,
            };
            series.identity(std::slice::from_ref(&metric))
        };
        assert_eq!(identity(["", "", ""]), "a");
        assert_eq!(identity(["", "ñ", ""]), "a{c=\"ñ\"}");
        assert_eq!(
            identity(["\\\"", "x\ny", "1"]),
            r#"a{b="\\\"",c="x\ny",d="1"}"#
        );
        // Texts that look like the end of another label stay apart.
        assert_ne!(identity(["x\",c=\"y", "", ""]), identity(["x", "y", ""]));
    }
}
