//! Writes the metrics that sources export under names of the operator's choice.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::domain::{Freshness, MetricKind, MetricSeries, Snapshot, SourceMetric, Time};

use super::own_series::{ExportedSeries, OwnSeries};

/// The suffix that the encoder adds to the names of counters.
const COUNTER_SUFFIX: &str = "_total";

/// The help of a metric for which the operator gave none.
const DEFAULT_HELP: &str = "From the cache, while it is fresh; resumen_source_last_success_timestamp_seconds tells the age.";

/// The samples of one name. Prometheus requires them together, and several sources may have some.
struct MetricFamily<'s> {
    name: &'s str,
    kind: MetricKind,
    help: &'s str,
    samples: Vec<OwnSample<'s>>,
    /// Whether the samples come from several sources.
    is_shared: bool,
}

/// One sample of a family.
#[derive(Debug)]
struct OwnSample<'s> {
    /// Position of its source.
    source: usize,
    definition: &'s SourceMetric,
    series: &'s MetricSeries,
    identity: &'s str,
}

/// Writes the own metrics of the fresh sources of `snapshot` at `now`. `is_open_metrics` tells the format of `encoder`.
/// Returns for each source how many of its series equal one of an earlier source, and are not written.
pub(crate) fn write_own_families(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &Snapshot,
    own_series: &OwnSeries,
    now: Time,
    is_open_metrics: bool,
) -> Result<Vec<usize>, fmt::Error> {
    let states = snapshot.source_states().iter().enumerate();
    let sources: Vec<(&[SourceMetric], Arc<ExportedSeries>)> = states
        .map(|(position, state)| {
            let is_exported = !state.source.metrics.is_empty()
                && snapshot.source_view(position, now).freshness == Freshness::Fresh;
            let series = is_exported.then(|| own_series.fresh_series(state, now));
            (&*state.source.metrics, series.flatten().unwrap_or_default())
        })
        .collect();
    let mut repeated_counts = vec![0; sources.len()];
    for family in collect_families(&sources) {
        if !family.samples.is_empty() {
            write_family(encoder, &family, &mut repeated_counts, is_open_metrics)?;
        }
    }
    Ok(repeated_counts)
}

/// Returns the families in the order of the configuration.
fn collect_families<'s>(
    sources: &'s [(&'s [SourceMetric], Arc<ExportedSeries>)],
) -> Vec<MetricFamily<'s>> {
    let mut families: Vec<MetricFamily<'s>> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for (source, (metrics, exported)) in sources.iter().enumerate() {
        // The family of each metric of this source.
        let places: Vec<usize> = metrics
            .iter()
            .map(|metric| {
                *positions.entry(&metric.name).or_insert_with(|| {
                    families.push(MetricFamily {
                        name: &metric.name,
                        kind: metric.kind,
                        help: "",
                        samples: Vec::new(),
                        is_shared: false,
                    });
                    families.len() - 1
                })
            })
            .collect();
        for (metric, place) in metrics.iter().zip(&places) {
            let family = &mut families[*place];
            family.is_shared |= !family.samples.is_empty();
            if family.help.is_empty() {
                family.help = &metric.help;
            }
        }
        for (series, identity) in &exported.series {
            families[places[series.metric]].samples.push(OwnSample {
                source,
                definition: &metrics[series.metric],
                series,
                identity,
            });
        }
    }
    families
}

fn write_family(
    encoder: &mut DescriptorEncoder<'_>,
    family: &MetricFamily<'_>,
    repeated_counts: &mut [usize],
    is_open_metrics: bool,
) -> fmt::Result {
    let (name, metric_type) = match family.kind {
        MetricKind::Gauge => (family.name, MetricType::Gauge),
        MetricKind::Counter => (
            family
                .name
                .strip_suffix(COUNTER_SUFFIX)
                .unwrap_or(family.name),
            MetricType::Counter,
        ),
    };
    let help = match family.help {
        "" => DEFAULT_HELP.into(),
        // The encoder of OpenMetrics, unlike that of the text format, writes a help as it is.
        help if is_open_metrics => escape_help(help),
        help => help.into(),
    };
    let mut metric = encoder.encode_descriptor(name, &help, None, metric_type)?;
    // Equal series of one source are removed already. Prometheus rejects a page with two samples of one series.
    let mut seen = HashSet::new();
    for sample in &family.samples {
        if family.is_shared && !seen.insert(sample.identity) {
            repeated_counts[sample.source] += 1;
            continue;
        }
        let value = &sample.series.value;
        let mut encoder = metric.encode_family(sample)?;
        match family.kind {
            MetricKind::Gauge => encoder.encode_gauge(value)?,
            MetricKind::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(value, None)?,
        }
    }
    Ok(())
}

fn escape_help(help: &str) -> Cow<'_, str> {
    if help.contains(['\\', '"', '\n']) {
        let escaped = help.replace('\\', "\\\\").replace('"', "\\\"");
        return escaped.replace('\n', "\\n").into();
    }
    help.into()
}

impl EncodeLabelSet for OwnSample<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let names = self.definition.labels.iter().map(|(name, _)| &**name);
        for (name, value) in names.zip(&self.series.label_values) {
            // Prometheus takes an empty value for no label.
            if !value.is_empty() {
                (name, value.as_str()).encode(encoder.encode_label())?;
            }
        }
        Ok(())
    }
}
