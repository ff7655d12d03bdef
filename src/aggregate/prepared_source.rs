//! A fetched source with its filters compiled.

use std::sync::Arc;

use crate::domain::{Provider, Schedule, Source, SourceIdentity, SourceKind};
use crate::extract::{Extractor, Filter, FilterError};

/// A fetched source that a flight can attempt. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PreparedSource {
    /// The definition.
    pub source: Arc<Source>,
    /// The identity of the readings.
    pub identity: SourceIdentity,
    /// When the providers are called.
    pub schedule: Schedule,
    /// The providers in order of preference, each with its filter.
    pub providers: Arc<[(Provider, Filter)]>,
}

impl PreparedSource {
    /// Compiles the filters of a fetched source; `None` for a derived one. A filter that
    /// `extractor` has compiled before is reused.
    pub fn new(source: &Arc<Source>, extractor: &Extractor) -> Result<Option<Self>, FilterError> {
        let SourceKind::Fetched {
            providers,
            schedule,
        } = &source.kind
        else {
            return Ok(None);
        };
        let providers = providers
            .iter()
            .map(|provider| {
                let filter = extractor.compile_filter(&provider.extract)?;
                Ok((provider.clone(), filter))
            })
            .collect::<Result<_, FilterError>>()?;
        Ok(Some(Self {
            source: Arc::clone(source),
            identity: SourceIdentity::from_source(source),
            schedule: *schedule,
            providers,
        }))
    }
}
