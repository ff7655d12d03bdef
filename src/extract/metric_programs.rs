//! The filters of a source's metrics, composed to programs: one evaluation for many metrics.

use std::collections::VecDeque;
use std::fmt::Write as _;

use parking_lot::Mutex;

use super::filter::Filter;
use super::filter_error::{FilterError, MAX_TEXT_BYTES};
use crate::domain::{MetricKind, SourceMetric};

/// The definitions that every program begins with.
const DEFINITIONS: &str = include_str!("metric.jq");

/// Maximum number of series of a source.
pub(super) const MAX_SERIES: usize = 10_000;

/// Maximum length of the value of a label, in bytes.
const MAX_LABEL_BYTES: usize = 1024;

/// Number of metrics in a list of a program.
const LIST_LENGTH: usize = 16;

/// The programs of a source's metrics.
#[derive(Debug)]
pub struct MetricPrograms {
    /// The part of each metric in its program.
    expressions: Vec<String>,
    /// Whether each metric is a counter.
    counters: Vec<bool>,
    /// Metrics whose filters did not end, or took too much memory. They are not in a program with others. The one that was
    /// evaluated last is the last.
    isolated: Mutex<VecDeque<usize>>,
}

impl MetricPrograms {
    /// Composes the filters of `metrics`, each of which must compile by itself.
    ///
    /// # Errors
    /// When the filters of a metric are too long together, or nest too deeply in a program, with the position of the
    /// metric.
    pub fn compile(metrics: &[SourceMetric]) -> Result<Self, (usize, FilterError)> {
        let programs = Self {
            expressions: metrics.iter().map(compose_expression).collect(),
            counters: metrics
                .iter()
                .map(|metric| metric.kind == MetricKind::Counter)
                .collect(),
            isolated: Mutex::default(),
        };
        for group in programs.groups() {
            if Filter::compile(&programs.program(&group)).is_err() {
                // Which of its metrics is wrong?
                for position in group {
                    Filter::compile(&programs.program(&[position]))
                        .map_err(|error| (position, error))?;
                }
            }
        }
        Ok(programs)
    }

    /// Divides the metrics, by their positions, such that each program is within the limit of a filter's text. The isolated
    /// ones are left out.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let isolated = self.isolated.lock();
        let mut groups = Vec::new();
        let mut group = Vec::new();
        // With the brackets of the array.
        let base = define_limits().len() + DEFINITIONS.len() + 2;
        let mut bytes = 0;
        for (position, expression) in self.expressions.iter().enumerate() {
            if isolated.contains(&position) {
                continue;
            }
            // With a comma, and at most a pair of brackets.
            let added = expression.len() + 3;
            if !group.is_empty() && base + bytes + added > MAX_TEXT_BYTES {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += added;
            group.push(position);
        }
        if !group.is_empty() {
            groups.push(group);
        }
        groups
    }

    /// Whether the metric at this position is a counter.
    pub(super) fn is_counter(&self, metric: usize) -> bool {
        self.counters[metric]
    }

    /// Returns the isolated metrics.
    pub(super) fn isolated(&self) -> VecDeque<usize> {
        self.isolated.lock().clone()
    }

    /// Replaces the isolated metrics.
    pub(super) fn isolate(&self, metrics: VecDeque<usize>) {
        *self.isolated.lock() = metrics;
    }

    /// Returns the text of a program for these metrics. Its result is an array with an array of series for each metric.
    pub(super) fn program(&self, metrics: &[usize]) -> String {
        // A parser nests by one level for each comma, so a long list is divided.
        let lists = metrics.chunks(LIST_LENGTH).map(|list| {
            let list: Vec<&str> = list
                .iter()
                .map(|metric| &*self.expressions[*metric])
                .collect();
            format!("({})", list.join(","))
        });
        let lists: Vec<String> = lists.collect();
        format!("{}{DEFINITIONS}[{}]", define_limits(), lists.join(","))
    }
}

/// Returns the definitions of the limits. One series beyond them tells that there are more.
fn define_limits() -> String {
    let max_series = MAX_SERIES + 1;
    format!("def __metric_max_bytes: {MAX_LABEL_BYTES}; def __metric_max_series: {max_series};\n")
}

fn compose_expression(metric: &SourceMetric) -> String {
    let mut text = format!(
        "__metric({}; [__metric_value({})",
        wrap(&metric.each),
        wrap(&metric.value)
    );
    for (name, filter) in &metric.labels {
        // A label's name has no character that a string escapes.
        let _ = write!(text, ",__metric_label(\"label {name}\"; {})", wrap(filter));
    }
    text + "])"
}

/// Returns a filter as one term. A comment at its end may hide the next line.
fn wrap(filter: &str) -> String {
    if filter.contains('#') {
        return format!("({filter}\n\n)");
    }
    format!("({filter})")
}
