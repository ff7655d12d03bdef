//! A fetched source, ready to fly.

use std::sync::Arc;

use crate::domain::{Provider, Schedule, Source, SourceIdentity, SourceKind};
use crate::extract::{Extractor, Filter, FilterError};

/// A fetched source with its filters compiled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PreparedSource {
    /// The source.
    pub source: Arc<Source>,
    /// To whom its readings belong.
    pub identity: SourceIdentity,
    /// Its pace.
    pub schedule: Schedule,
    /// Its providers in order of preference, each with its filter.
    pub providers: Arc<[(Provider, Filter)]>,
}

impl PreparedSource {
    /// A fetched source with the filters that `extractor` knows or compiles; none for a derived one.
    pub fn new(source: &Arc<Source>, extractor: &Extractor) -> Result<Option<Self>, FilterError> {
        let SourceKind::Fetched {
            providers,
            schedule: pace,
        } = &source.kind
        else {
            return Ok(None);
        };
        let ready = |p: &Provider| Ok((p.clone(), extractor.compile_filter(&p.extract)?));
        let providers = providers
            .iter()
            .map(ready)
            .collect::<Result<_, FilterError>>()?;
        Ok(Some(Self {
            source: Arc::clone(source),
            identity: SourceIdentity::from_source(source),
            schedule: *pace,
            providers,
        }))
    }
}
