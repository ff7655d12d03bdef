//! A fetched source, ready to fly.

use std::sync::Arc;

use crate::domain::{Identity, Kind, Pace, Provider, Source};
use crate::extract::{Extractor, Filter, FilterError};

/// A fetched source with its filters compiled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Crew {
    /// The source.
    pub source: Arc<Source>,
    /// To whom its readings belong.
    pub identity: Identity,
    /// Its pace.
    pub pace: Pace,
    /// Its providers in order of preference, each with its filter.
    pub providers: Arc<[(Provider, Filter)]>,
}

impl Crew {
    /// A fetched source with the filters that `extractor` knows or compiles; none for a derived one.
    pub fn new(source: &Arc<Source>, extractor: &Extractor) -> Result<Option<Self>, FilterError> {
        let Kind::Fetched { providers, pace } = &source.kind else {
            return Ok(None);
        };
        let ready = |p: &Provider| Ok((p.clone(), extractor.filter(&p.extract)?));
        let providers = providers
            .iter()
            .map(ready)
            .collect::<Result<_, FilterError>>()?;
        Ok(Some(Self {
            source: Arc::clone(source),
            identity: Identity::of(source),
            pace: *pace,
            providers,
        }))
    }
}
