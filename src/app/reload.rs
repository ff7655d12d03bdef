//! The reload: applies another configuration to a running service, entirely or not at all.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::api::ProcessMetrics;
use crate::config::Config;
use crate::extract::Extractor;
use crate::fetch::HttpFetch;

use super::core::AppCore;

/// Applies configurations to a running service. Cheap to clone.
#[derive(Clone)]
pub struct ConfigReloader {
    pub(super) core: Arc<AppCore>,
    pub(super) process_metrics: Arc<ProcessMetrics>,
    pub(super) fetch: Arc<HttpFetch>,
    pub(super) extractor: Extractor,
}

impl ConfigReloader {
    /// Replaces the configuration `old` by `new`. Sources with the same identity keep their readings.
    /// Fails, without a change, if only a restart can apply `new` or a filter does not compile.
    pub fn reload(&self, old: &Config, new: &Config) -> anyhow::Result<()> {
        let result = self.apply_config(old, new);
        self.process_metrics
            .record_reload(result.is_ok().then(|| self.core.clock.now()));
        result
    }

    /// Records a configuration that was refused before it reached [`ConfigReloader::reload`].
    pub fn record_refusal(&self) {
        self.process_metrics.record_reload(None);
    }

    fn apply_config(&self, old: &Config, new: &Config) -> anyhow::Result<()> {
        let fixed = old.keys_needing_restart(new);
        if !fixed.is_empty() {
            bail!("only a restart can change {}", fixed.join(", "));
        }
        // Secrets first: the next request may contain a new one, and its error must be redacted.
        self.redact_secrets(new);
        self.extractor.set_filters(new.filters.clone());
        let result = self
            .core
            .replace_sources(&new.sources, new.server.default_timeout);
        if result.is_err() {
            self.redact_secrets(old);
        }
        result.context("failed to replace the sources")
    }

    /// Redacts the secrets of `config` from now on, and those redacted before.
    fn redact_secrets(&self, config: &Config) {
        self.fetch.set_secrets(config.secrets.clone());
        self.extractor.set_secrets(config.secrets.clone());
    }
}
