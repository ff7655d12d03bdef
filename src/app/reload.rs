//! Another configuration for a running service: all of it or none of it.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::config::Config;
use crate::extract::Extractor;
use crate::fetch::HttpFetch;
use crate::http::Vitals;

use super::Engine;

/// Gives another configuration to a running service. Cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    pub(super) engine: Arc<Engine<HttpFetch>>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) fetch: Arc<HttpFetch>,
    pub(super) extractor: Extractor,
}

impl Reloader {
    /// Takes over `new` instead of `old`. Readings of sources that stay the same are kept; on an error nothing has
    /// changed.
    pub fn reload(&self, old: &Config, new: &Config) -> anyhow::Result<()> {
        let adopted = self.adopt(old, new);
        self.vitals
            .reloaded(adopted.is_ok().then(|| self.engine.clock.now()));
        adopted
    }

    /// Notes that a new configuration was refused before it came here.
    pub fn refused(&self) {
        self.vitals.reloaded(None);
    }

    fn adopt(&self, old: &Config, new: &Config) -> anyhow::Result<()> {
        let fixed = old.needs_restart(new);
        if !fixed.is_empty() {
            bail!("only a restart can change {}", fixed.join(", "));
        }
        // Before the first request with a new secret can leave.
        self.hide(new);
        self.extractor.know(new.filters.clone());
        let adopted = self.engine.adopt(&new.sources, new.server.default_timeout);
        if adopted.is_err() {
            self.hide(old);
        }
        adopted.context("failed to take over the sources")
    }

    /// Masks the secrets of `config` from now on, beside those masked last.
    fn hide(&self, config: &Config) {
        self.fetch.set_secrets(config.secrets.clone());
        self.extractor.set_secrets(config.secrets.clone());
    }
}
