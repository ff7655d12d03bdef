//! The declarations of the keys of a source's own metrics.

use super::key::Kind::{Enum, Filter, FilterTable, TableList, Text};
use super::key::Section::{Defaults, Derived, Metric, Source};
use super::key::{Key, Section};
use crate::domain::MetricKind;

const EXPORTING: &[Section] = &[Source, Derived, Defaults];

pub(super) const METRIC_KEYS: &[Key] = &[
    Key::new("metrics", EXPORTING, TableList(Metric), "[]")
        .doc(
            "The metrics that `/metrics` has of the source, instead of `resumen_value`. `[]` turns inherited ones off; \
             a derived source inherits none.",
        )
        .example(r#"[{ name = "btc_price_usd", value = ".usd" }]"#)
        .aliases("metric prometheus exporter export series"),
    // [[sources.NAME.metrics]]
    Key::new("name", &[Metric], Text, "")
        .doc(
            "Name of the metric: letters, digits and `_`. Metrics of one name, of whatever source, have one type and one \
             help.",
        )
        .example(r#""btc_price_usd""#)
        .aliases("metric metric_name")
        .required_in(&[Metric]),
    Key::new("help", &[Metric], Text, r#""""#)
        .doc("What the metric tells, for `# HELP`. Once for each name is enough; without it, a text about the age.")
        .example(r#""Spot price of one bitcoin""#)
        .aliases("description doc comment"),
    Key::new(
        "type",
        &[Metric],
        Enum(MetricKind::NAMES),
        r#""counter" if `name` ends in `_total`, else "gauge""#,
    )
    .doc("Type of the metric. The name of a counter ends in `_total`.")
    .example(r#""gauge""#)
    .aliases("valuetype value_type metric_type kind"),
    Key::new("each", &[Metric], Filter, r#"".""#)
        .doc("The jq filter over the source's data that gives an item for each series. Default: the data itself.")
        .example("'.rates[]'")
        .aliases("path items item foreach for_each list objects"),
    Key::new("value", &[Metric], Filter, "")
        .doc(
            "The jq filter over an item that gives the value: a number, `true` (1), `false` (0), or a text that is a \
             number. Anything else leaves the series out and is counted.",
        )
        .example("'.value'")
        .aliases("values value_path extract jq")
        .required_in(&[Metric]),
    Key::new("labels", &[Metric], FilterTable, "")
        .doc(
            "Names of labels, and the jq filters over an item that give their values: texts, numbers or booleans. A text \
             that is always the same has quotation marks of its own: `'\"home\"'`. No other label is added.",
        )
        .example(r#"{ quote = ".name", site = '"home"' }"#)
        .aliases("label tags"),
];
