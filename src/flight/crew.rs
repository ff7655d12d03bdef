//! A fetched source, ready to fly.

use std::collections::HashMap;
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
    /// Compiles the filters of a fetched source, but for those that `compiled` has; none for a derived one.
    pub fn new(source: &Arc<Source>, compiled: &mut HashMap<Arc<str>, Filter>) -> Result<Option<Self>, FilterError> {
        let Kind::Fetched { providers, pace } = &source.kind else { return Ok(None) };
        let mut ready = |p: &Provider| Ok((p.clone(), filter(&p.extract, compiled)?));
        let providers = providers.iter().map(&mut ready).collect::<Result<_, FilterError>>()?;
        Ok(Some(Self { source: Arc::clone(source), identity: Identity::of(source), pace: *pace, providers }))
    }
}

/// Many sources have the same filter, and compiling one takes about a millisecond.
fn filter(text: &Arc<str>, compiled: &mut HashMap<Arc<str>, Filter>) -> Result<Filter, FilterError> {
    if let Some(filter) = compiled.get(text) {
        return Ok(filter.clone());
    }
    let filter = Filter::compile(text)?;
    compiled.insert(Arc::clone(text), filter.clone());
    Ok(filter)
}
