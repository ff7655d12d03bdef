//! A fetched source, ready to fly.

use std::sync::Arc;

use crate::domain::{Identity, Kind, Pace, Provider, Source};
use crate::extract::{Filter, FilterError};

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
    /// Compiles the filters of a fetched source; none for a derived one.
    pub fn new(source: &Arc<Source>) -> Result<Option<Self>, FilterError> {
        let Kind::Fetched { providers, pace } = &source.kind else { return Ok(None) };
        let ready = |p: &Provider| Ok((p.clone(), Filter::compile(&p.extract)?));
        let providers = providers.iter().map(ready).collect::<Result<_, FilterError>>()?;
        Ok(Some(Self { source: Arc::clone(source), identity: Identity::of(source), pace: *pace, providers }))
    }
}
