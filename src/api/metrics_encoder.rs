//! Encodes the registries of metrics: that of the service, and the sources' own metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::metrics::{OwnSeries, SourceNumbers, write_left_out, write_own_families};
use crate::server::ServerContext;

/// Encodes the content of `/metrics` in both formats.
#[derive(Debug)]
pub(super) struct MetricsEncoder {
    service: Registry,
    /// The own metrics for the text format.
    own_text: Registry,
    /// The own metrics for `OpenMetrics`: a collector does not learn the format that it is asked for.
    own_open_metrics: Registry,
}

impl MetricsEncoder {
    /// The metrics of `service`, then those that sources export under names of the operator's choice.
    pub(super) fn new(
        service: Registry,
        server: &Arc<ServerContext>,
        own_series: &Arc<OwnSeries>,
        source_numbers: &Arc<SourceNumbers>,
    ) -> Self {
        let registry = |is_open_metrics| {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(OwnCollector {
                server: Arc::clone(server),
                series: Arc::clone(own_series),
                numbers: Arc::clone(source_numbers),
                is_open_metrics,
            }));
            registry
        };
        Self {
            service,
            own_text: registry(false),
            own_open_metrics: registry(true),
        }
    }

    /// Returns the page.
    pub(super) fn encode(&self, is_open_metrics: bool) -> Result<String, fmt::Error> {
        let mut page = String::new();
        if is_open_metrics {
            text::encode_registry(&mut page, &self.service)?;
            text::encode_registry(&mut page, &self.own_open_metrics)?;
            text::encode_eof(&mut page)?;
        } else {
            prometheus_text::encode(&mut page, &self.service)?;
            prometheus_text::encode(&mut page, &self.own_text)?;
        }
        Ok(page)
    }
}

/// Reads the series of the sources' own metrics on each scrape, and what is left out.
struct OwnCollector {
    server: Arc<ServerContext>,
    series: Arc<OwnSeries>,
    numbers: Arc<SourceNumbers>,
    is_open_metrics: bool,
}

impl Collector for OwnCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (snapshot, now) = (self.server.cache.snapshot(), self.server.clock.now());
        let (series, numbers) = (&self.series, &self.numbers);
        let repeated =
            write_own_families(&mut encoder, &snapshot, series, now, self.is_open_metrics)?;
        write_left_out(&mut encoder, &snapshot, numbers, series, &repeated, now)
    }
}

impl fmt::Debug for OwnCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCollector").finish_non_exhaustive()
    }
}
