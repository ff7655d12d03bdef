//! Another configuration for a running service: all of it or none of it.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::config::Config;
use crate::domain::Redactor;
use crate::extract::Extractor;
use crate::metrics::ProcessMetrics;

use super::core::AppCore;

/// Gives another configuration to a running service. Cheap to clone.
#[derive(Clone)]
pub struct ConfigReloader {
    pub(super) core: Arc<AppCore>,
    pub(super) process_metrics: Arc<ProcessMetrics>,
    pub(super) extractor: Extractor,
    pub(super) redactor: Redactor,
}

impl ConfigReloader {
    /// Takes over `new` instead of `old`. Readings of sources that stay the same are kept; on an error nothing has
    /// changed.
    pub fn reload(&self, old: &Config, new: &Config) -> anyhow::Result<()> {
        let adopted = self.apply_config(old, new);
        self.process_metrics
            .record_reload(adopted.is_ok().then(|| self.core.clock.now()));
        adopted
    }

    /// Notes that a new configuration was refused before it came here.
    pub fn record_refusal(&self) {
        self.process_metrics.record_reload(None);
    }

    fn apply_config(&self, old: &Config, new: &Config) -> anyhow::Result<()> {
        let fixed = old.keys_needing_restart(new);
        if !fixed.is_empty() {
            bail!("only a restart can change {}", fixed.join(", "));
        }
        // Before the first request with a new secret can be sent.
        self.redactor.replace_secrets(new.secrets.clone());
        self.extractor.set_filters(new.filters.clone());
        let adopted = self
            .core
            .replace_sources(&new.sources, new.server.default_timeout);
        if adopted.is_err() {
            self.redactor.replace_secrets(old.secrets.clone());
        }
        adopted.context("failed to take over the sources")
    }
}
