//! Sources: the named values of the summary.

use std::sync::Arc;

use super::appearance::SourceAppearance;
use super::freshness::FreshnessPolicy;
use super::name::Name;
use super::provider::Provider;
use super::schedule::Schedule;
use super::source_metric::SourceMetric;

/// Definition of a source, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the source in requests and responses.
    pub name: Name,
    /// Origin of its data.
    pub kind: SourceKind,
    /// Freshness limits of its readings. A derived source is as stale as its stalest input; its own
    /// policy has the widest limits of its inputs and does not decide its freshness.
    pub freshness_policy: FreshnessPolicy,
    /// Credit to show beside the data. Default: none.
    pub attribution: Option<Arc<str>>,
    /// How people see it.
    pub appearance: Arc<SourceAppearance>,
    /// Metrics that are exported instead of each number of the data. Default: none.
    pub metrics: Arc<[SourceMetric]>,
}

/// Origin of a source's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Fetched from providers.
    Fetched {
        /// Providers in order of preference: at least one, with unique names.
        providers: Vec<Provider>,
        /// Times of the attempts.
        schedule: Schedule,
    },
    /// Computed from other sources, again after each change of an input.
    Derived {
        /// Names of the inputs, fetched or derived, without cycles.
        inputs: Vec<Name>,
        /// jq filter over an object with one member per input.
        extract: Arc<str>,
    },
}

impl Source {
    /// Returns the providers; empty for a derived source.
    pub fn providers(&self) -> &[Provider] {
        match &self.kind {
            SourceKind::Fetched { providers, .. } => providers,
            SourceKind::Derived { .. } => &[],
        }
    }

    /// Returns whether the provider `name` is at another host or port than in `former`.
    pub fn has_moved_provider(&self, former: &Self, name: &Name) -> bool {
        let address = |source: &Self| {
            let mut providers = source.providers().iter();
            let url = &providers
                .find(|provider| provider.name == *name)?
                .request
                .url;
            Some((url.host()?.to_owned(), url.port_or_known_default()))
        };
        address(self) != address(former)
    }

    /// Returns whether the source has a provider of this name.
    pub fn has_provider(&self, name: &Name) -> bool {
        self.providers()
            .iter()
            .any(|provider| provider.name == *name)
    }

    /// Returns the schedule; `None` for a derived source.
    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.kind {
            SourceKind::Fetched { schedule, .. } => Some(schedule),
            SourceKind::Derived { .. } => None,
        }
    }

    /// Returns whether the source is computed from other sources.
    pub fn is_derived(&self) -> bool {
        matches!(self.kind, SourceKind::Derived { .. })
    }

    /// Returns the names of the inputs; empty for a fetched source.
    pub fn inputs(&self) -> &[Name] {
        match &self.kind {
            SourceKind::Fetched { .. } => &[],
            SourceKind::Derived { inputs, .. } => inputs,
        }
    }

    /// Returns the `extract` filters, sorted and without duplicates. They are part of the source's
    /// identity, which therefore does not depend on the order and the number of providers.
    pub fn extract_filters(&self) -> Vec<&str> {
        let mut filters: Vec<&str> = match &self.kind {
            SourceKind::Fetched { providers, .. } => {
                providers.iter().map(|p| &*p.extract).collect()
            }
            SourceKind::Derived { extract, .. } => vec![extract],
        };
        filters.sort_unstable();
        filters.dedup();
        filters
    }

    /// Returns the formats other than JSON, each with the `extract` filter of its provider, sorted and without
    /// duplicates. They are part of the source's identity.
    pub fn formatted_filters(&self) -> Vec<(String, &str)> {
        let formatted = self.providers().iter().filter_map(|provider| {
            let format = provider.request.format.identity_text()?;
            Some((format, &*provider.extract))
        });
        let mut formatted: Vec<(String, &str)> = formatted.collect();
        formatted.sort_unstable();
        formatted.dedup();
        formatted
    }
}
