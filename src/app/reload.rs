//! The reload: applies another configuration to a running service, entirely or not at all.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::auth::AuthorizedFetch;
use crate::config::Config;
use crate::domain::{Provider, Redactor};
use crate::extract::Extractor;
use crate::fetch::HttpFetch;
use crate::metrics::ProcessMetrics;
use crate::server::ServerContext;

use super::core::AppCore;

/// Applies configurations to a running service. Cheap to clone.
#[derive(Clone)]
pub struct ConfigReloader {
    pub(super) core: Arc<AppCore>,
    pub(super) process_metrics: ProcessMetrics,
    pub(super) extractor: Extractor,
    pub(super) fetch: Arc<HttpFetch>,
    pub(super) authorized_fetch: Arc<AuthorizedFetch>,
    pub(super) redactor: Redactor,
    pub(super) server: Arc<ServerContext>,
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
        // First, because it can fail.
        if old.server.tls != new.server.tls {
            let replaced = self.server.replace_tls(new.server.tls.as_ref());
            replaced.context("server.tls")?;
        }
        // Before the first request with a new secret can be sent.
        self.redactor.replace_secrets(new.secrets.clone());
        self.extractor.set_filters(new.filters.clone());
        // Before the first flight of a source that names a new one.
        self.authorized_fetch.replace_auths(&new.auths);
        // Before the sources: the `OpenAPI` document is made once for each set of them.
        self.server.replace_tokens(&new.server.tokens);
        let result = self
            .core
            .replace_sources(&new.sources, new.server.default_timeout);
        if result.is_ok() {
            self.fetch.set_max_per_host(new.max_per_host);
            // A corrected login must not wait for an interval. One may use another, so all are selected.
            if old.auths != new.auths {
                let has_auth = |provider: &Provider| provider.request.auth.is_some();
                self.core
                    .attempt_now(|source| source.providers().iter().any(has_auth));
            }
        } else {
            self.redactor.replace_secrets(old.secrets.clone());
            self.authorized_fetch.replace_auths(&old.auths);
            self.server.replace_tokens(&old.server.tokens);
            self.server.replace_tls(old.server.tls.as_ref())?;
        }
        result.context("failed to replace the sources")
    }
}
