//! One named value of the summary.

use std::sync::Arc;
use std::time::Duration;

use super::freshness::FreshnessPolicy;
use super::name::Name;
use super::provider::Provider;

/// A source as the configuration defines it: what dashboards read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is called in answers.
    pub name: Name,
    /// Where its data comes from.
    pub kind: SourceKind,
    /// How long its readings live. A derived source has none of its own: it is as stale as its inputs; its shelf is
    /// the widest of theirs.
    pub freshness_policy: FreshnessPolicy,
    /// Credit that must be shown beside the data.
    pub attribution: Option<Arc<str>>,
}

/// Where a source's data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Fetched from providers.
    Fetched {
        /// In order of preference; at least one; names unique.
        providers: Vec<Provider>,
        /// When they are asked.
        schedule: Schedule,
    },
    /// Computed from other sources at each swap that touches one.
    Derived {
        /// The inputs, by name; fetched or derived, without circles.
        inputs: Vec<Name>,
        /// A jq filter over an object with one member per input.
        extract: Arc<str>,
    },
}

/// When and how long the providers of a source are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Between the starts of two scheduled attempts, before ±10 % jitter. Default: 15 s.
    pub interval: Duration,
    /// The total of one attempt. Default: 4 s; never more than the interval.
    pub timeout: Duration,
    /// The least time between the starts of two flights, from whatever side.
    pub min_interval: Duration,
    /// Start the next provider this long after the one before, if it has not answered; none: only after a failure.
    pub hedge_after: Option<Duration>,
}

impl Source {
    /// The providers; empty for a derived source.
    pub fn providers(&self) -> &[Provider] {
        match &self.kind {
            SourceKind::Fetched { providers, .. } => providers,
            SourceKind::Derived { .. } => &[],
        }
    }

    /// The pace; none for a derived source.
    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.kind {
            SourceKind::Fetched { schedule: pace, .. } => Some(pace),
            SourceKind::Derived { .. } => None,
        }
    }

    /// The inputs; empty for a fetched source.
    pub fn inputs(&self) -> &[Name] {
        match &self.kind {
            SourceKind::Fetched { .. } => &[],
            SourceKind::Derived { inputs: from, .. } => from,
        }
    }

    /// The texts that, with the name, decide whether a reading belongs to this source: a restart, a reload and a
    /// replica keep readings as long as these are the same. Sorted, each once: neither the order nor the number of
    /// providers matters.
    pub fn extract_filters(&self) -> Vec<&str> {
        let mut texts: Vec<&str> = match &self.kind {
            SourceKind::Fetched { providers, .. } => {
                providers.iter().map(|p| &*p.extract).collect()
            }
            SourceKind::Derived { extract, .. } => vec![extract],
        };
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}
