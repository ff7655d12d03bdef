//! Another configuration for a running service: all of it or none of it.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::api::ProcessMetrics;
use crate::config::Config;
use crate::extract::Extractor;
use crate::fetch::HttpFetch;

use super::core::AppCore;

/// Gives another configuration to a running service. Cheap to clone.
#[derive(Clone)]
pub struct ConfigReloader {
    pub(super) core: Arc<AppCore>,
    pub(super) process_metrics: Arc<ProcessMetrics>,
    pub(super) fetch: Arc<HttpFetch>,
    pub(super) extractor: Extractor,
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
        // Before the first request with a new secret can leave.
        self.redact_secrets(new);
        self.extractor.set_filters(new.filters.clone());
        let adopted = self
            .core
            .replace_sources(&new.sources, new.server.default_timeout);
        if adopted.is_err() {
            self.redact_secrets(old);
        }
        if adopted.is_ok() {
            self.fetch.set_max_per_host(new.max_per_host);
        }
        adopted.context("failed to take over the sources")
    }

    /// Masks the secrets of `config` from now on, beside those masked last.
    fn redact_secrets(&self, config: &Config) {
        self.fetch.set_secrets(config.secrets.clone());
        self.extractor.set_secrets(config.secrets.clone());
    }
}
