//! The series that a source's own metrics give of a provider's data, for `check --live`.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::terminal::escape_control;
use crate::domain::{JsonData, MetricResults, Redactor, Source};
use crate::extract::{Extractor, MetricPrograms};
use crate::process::Clock;

/// Maximum number of series of a source that are shown as text.
const MAX_SHOWN_SERIES: usize = 24;

/// The series of one provider's data, with secrets redacted.
pub(super) struct MetricProbe {
    /// Series and values.
    series: Vec<(String, f64)>,
    /// Names of metrics, and why series of them are left out.
    failures: Vec<(String, String)>,
}

impl MetricProbe {
    /// Evaluates the metrics of `source` over `data`. `None` if it has none.
    pub(super) async fn evaluate(
        source: &Source,
        data: &JsonData,
        extractor: &Extractor,
        clock: Clock,
        redactor: &Redactor,
    ) -> Option<Self> {
        let metrics = &*source.metrics;
        if metrics.is_empty() {
            return None;
        }
        let name_of = |position: usize| metrics[position].name.to_string();
        let results = match MetricPrograms::compile(metrics) {
            Ok(programs) => {
                extractor
                    .evaluate_metrics(&source.name, &programs, data, clock)
                    .await
            }
            Err((position, error)) => {
                return Some(Self {
                    series: Vec::new(),
                    failures: vec![(name_of(position), error.message)],
                });
            }
        };
        let MetricResults {
            series, failures, ..
        } = results;
        let mut failures: Vec<(String, String)> = failures
            .into_iter()
            .map(|failure| (name_of(failure.metric), failure.message))
            .collect();
        let mut seen = HashSet::new();
        let mut repeated = HashSet::new();
        let mut exported = Vec::new();
        for series in series {
            let identity = series.identity(metrics);
            let text = redactor.redact(&identity);
            if seen.insert(identity) {
                exported.push((text, series.value));
            } else if repeated.insert(series.metric) {
                let message = format!("the series is repeated: {text}");
                failures.push((name_of(series.metric), message));
            }
        }
        Some(Self {
            series: exported,
            failures,
        })
    }

    /// Writes a line for each series and each failure.
    pub(super) fn write_lines(&self, out: &mut String) {
        for (series, value) in self.series.iter().take(MAX_SHOWN_SERIES) {
            let _ = writeln!(out, "  {:10} {} {value}", "metric", escape_control(series));
        }
        if self.series.len() > MAX_SHOWN_SERIES {
            let _ = writeln!(
                out,
                "  {:10} … and {} more, see --format json",
                "",
                self.series.len() - MAX_SHOWN_SERIES
            );
        }
        for (metric, message) in &self.failures {
            let message = escape_control(message);
            let _ = writeln!(out, "  {:10} {metric}: {message}", "no metric");
        }
    }

    /// Returns the series and the failures for `check --format json`.
    pub(super) fn to_json(&self) -> Value {
        let series = self.series.iter();
        let series = series.map(|(series, value)| json!({"series": series, "value": value}));
        let failures = self.failures.iter();
        let failures = failures.map(|(metric, error)| json!({"metric": metric, "error": error}));
        json!({"series": series.collect::<Value>(), "failures": failures.collect::<Value>()})
    }
}
