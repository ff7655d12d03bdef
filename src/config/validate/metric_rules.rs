//! `[[sources.NAME.metrics]]`: names that Prometheus accepts, and one type and one help for each name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::loader::ConfigLoader;
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{MetricKind, SourceMetric};
use crate::extract::MetricPrograms;

/// Names that Prometheus or this program gives to series of its own, or what they begin with.
const RESERVED_NAMES: [(&str, &str); 4] = [
    ("resumen_", "this program's own metrics begin with it"),
    (
        "process_",
        "the metrics of this program's process begin with it",
    ),
    (
        "scrape_",
        "Prometheus adds metrics of such names to each scrape",
    ),
    ("up", "Prometheus adds a metric of this name to each scrape"),
];

/// Names that a counter `x_total` takes in `OpenMetrics`: `x` and these.
const COUNTER_SUFFIXES: [&str; 2] = ["_total", "_created"];

/// The names of the metrics of all sources.
#[derive(Debug, Default)]
pub(crate) struct MetricFamilies {
    by_name: HashMap<String, MetricFamilyRule>,
    /// The metric that takes each name of the exposition.
    exposed: HashMap<String, String>,
}

/// What all metrics of one name have.
#[derive(Debug)]
struct MetricFamilyRule {
    kind: MetricKind,
    help: String,
}

/// The metrics of a source: those of the first of `tables` that has the key.
pub(super) fn validate_metrics(
    tables: &[&Table],
    families: &mut MetricFamilies,
    loader: &mut ConfigLoader<'_>,
) -> Arc<[SourceMetric]> {
    let Some(table) = tables.iter().find(|table| table.has("metrics")) else {
        return Arc::default();
    };
    let tables = table.tables("metrics");
    let mut spans = Vec::with_capacity(tables.len());
    let metrics = tables.iter().filter_map(|table| {
        let metric = validate_metric(table, families, loader)?;
        spans.push(&table.span);
        Some(metric)
    });
    let metrics: Arc<[SourceMetric]> = metrics.collect();
    // A filter that does not compile by itself is reported already.
    if loader.has_invalid_filter {
        return metrics;
    }
    if let Err((position, error)) = MetricPrograms::compile(&metrics) {
        let message = format!(
            "the filters of this metric are not valid together: {}",
            error.message
        );
        loader.error(
            spans[position],
            &message,
            "expected shorter filters that nest less",
        );
    }
    metrics
}

/// The metric of a table. `None` if it has no valid name or no value.
fn validate_metric(
    table: &Table,
    families: &mut MetricFamilies,
    loader: &mut ConfigLoader<'_>,
) -> Option<SourceMetric> {
    for key in ["name", "value"] {
        if !table.has(key) {
            let help = "expected `name`, `value`, and perhaps `each`, `labels`, `help` and `type`";
            loader.missing(&table.span, &format!("a metric has no `{key}`"), help);
        }
    }
    let labels = validate_labels(table, loader);
    let help = validate_help(table, loader);
    let name = table.text("name")?;
    if !validate_metric_name(name, loader) {
        return None;
    }
    let kind = validate_kind(table, name, loader);
    check_family(table, name, kind, &help, families, loader);
    let filter = |key| table.text(key).map(|text| Arc::from(text.value.as_str()));
    Some(SourceMetric {
        name: name.value.as_str().into(),
        help: help.as_str().into(),
        kind,
        each: filter("each").unwrap_or_else(|| ".".into()),
        value: filter("value")?,
        labels,
    })
}

fn validate_metric_name(name: &SpannedStr, loader: &mut ConfigLoader<'_>) -> bool {
    // In OpenMetrics the family of a counter has its name without `_total`.
    let is_valid = is_identifier(&name.value, true) && name.value != "_total";
    if !is_valid {
        let help = name_help(name, "letters, digits and `_`, not beginning with a digit");
        let message = format!("{name} is not a valid metric name");
        loader.error(&name.span, &message, help);
        return false;
    }
    let is_reserved = |(reserved, _): &&(&str, &str)| {
        name.value == *reserved || (reserved.ends_with('_') && name.value.starts_with(reserved))
    };
    if let Some((reserved, reason)) = RESERVED_NAMES.iter().find(is_reserved) {
        let message = format!("the metric name {name} is reserved");
        loader.error(&name.span, &message, format!("`{reserved}`: {reason}"));
        return false;
    }
    true
}

/// Whether `text` is a name of a label, or with `:` of a metric.
fn is_identifier(text: &str, allows_colon: bool) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || (allows_colon && c == ':');
    let mut chars = text.chars();
    chars.next().is_some_and(is_letter) && chars.all(|c| is_letter(c) || c.is_ascii_digit())
}

/// What to write instead of an invalid name.
fn name_help(name: &SpannedStr, expected: &str) -> String {
    let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let near: String = name.value.chars().map(letters).collect();
    let near = near.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
    // A value from a reference is not repeated in a message: it may be a secret.
    if name.original.is_none() && name.value.is_ascii() && !near.is_empty() {
        return format!("did you mean `{near}`? expected {expected}");
    }
    format!("expected {expected}")
}

fn validate_help(table: &Table, loader: &mut ConfigLoader<'_>) -> String {
    let Some(help) = table.text("help") else {
        return String::new();
    };
    if help.value.contains(|c: char| c.is_control()) {
        let message = "the `help` of a metric has a line break or another control character";
        loader.error(&help.span, message, "expected one line of text");
    }
    help.value.clone()
}

/// The labels of a metric, sorted by name.
fn validate_labels(table: &Table, loader: &mut ConfigLoader<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let mut labels = Vec::new();
    for (name, filter) in table.text_table("labels") {
        if !is_identifier(&name.value, false) {
            let help = name_help(name, "letters, digits and `_`, not beginning with a digit");
            let message = format!("{name} is not a valid label name");
            loader.error(&name.span, &message, help);
        } else if name.value.starts_with("__") {
            let message = format!("the label name {name} is reserved");
            loader.error(
                &name.span,
                &message,
                "Prometheus uses names that begin with `__` itself",
            );
        }
        labels.push((name.value.as_str().into(), filter.value.as_str().into()));
    }
    labels.sort();
    labels
}

fn validate_kind(table: &Table, name: &SpannedStr, loader: &mut ConfigLoader<'_>) -> MetricKind {
    let is_total = name.value.ends_with("_total");
    match table.text("type") {
        Some(text) if text.value == MetricKind::Counter.as_str() => {
            if !is_total {
                let message = format!("the name of the counter {name} does not end in `_total`");
                let help = format!("did you mean `{}_total`?", name.as_written());
                loader.error(&name.span, &message, help);
            }
            MetricKind::Counter
        }
        None if is_total => MetricKind::Counter,
        _ => MetricKind::Gauge,
    }
}

/// Reports a metric that contradicts an earlier one.
fn check_family(
    table: &Table,
    name: &SpannedStr,
    kind: MetricKind,
    help: &str,
    families: &mut MetricFamilies,
    loader: &mut ConfigLoader<'_>,
) {
    let place = |key| table.span_of(key).unwrap_or(&name.span).clone();
    if let Some(known) = families.by_name.get_mut(&name.value) {
        if known.kind != kind {
            let message = format!("another metric {name} is a {}", known.kind.as_str());
            loader.error(&place("type"), &message, "expected one type for each name");
        }
        if known.help.is_empty() {
            help.clone_into(&mut known.help);
        } else if !help.is_empty() && known.help != help {
            let message = format!("another metric {name} has another `help`");
            loader.error(
                &place("help"),
                &message,
                "expected one help for each name; one of them is enough",
            );
        }
        return;
    }
    let stem = name.value.strip_suffix("_total");
    let exposed = match (kind, stem) {
        (MetricKind::Counter, Some(stem)) => {
            let suffixed = COUNTER_SUFFIXES.map(|suffix| [stem, suffix].concat());
            [vec![stem.to_owned()], suffixed.to_vec()].concat()
        }
        _ => vec![name.value.clone()],
    };
    for exposed in exposed {
        if let Some(other) = families.exposed.get(&exposed) {
            let message = format!("the metric names {name} and `{other}` collide in OpenMetrics");
            let help = "a counter `x_total` takes the names `x` and `x_created`, too";
            loader.error(&name.span, &message, help);
        }
        families.exposed.insert(exposed, name.value.clone());
    }
    let family = MetricFamilyRule {
        kind,
        help: help.to_owned(),
    };
    families.by_name.insert(name.value.clone(), family);
}
