//! Which sources there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::identity::SourceIdentity;
use super::name::Name;
use super::source::Source;

/// The sources of a configuration in its order (fetched ones, then derived ones), found by name.
#[derive(Debug, Default)]
pub struct SourceSet {
    sources: Vec<Arc<Source>>,
    identities: Vec<SourceIdentity>,
    index: HashMap<Name, usize>,
}

impl SourceSet {
    /// A roster of sources with different names.
    pub fn new(sources: Vec<Arc<Source>>) -> Self {
        let index = sources
            .iter()
            .enumerate()
            .map(|(i, s)| (s.name.clone(), i))
            .collect();
        let mut roster = Self {
            sources,
            identities: Vec::new(),
            index,
        };
        roster.identities = (0..roster.sources.len())
            .map(|at| roster.compute_identity(at, 0))
            .collect();
        roster
    }

    /// The sources, in order.
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    /// Where the source of this name stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The source of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.position(name).map(|i| &self.sources[i])
    }

    /// To whom the readings of the source at `position` belong. A derived source's is made of its inputs' too: what was
    /// computed from other readings is another value.
    pub fn identity(&self, position: usize) -> SourceIdentity {
        self.identities[position]
    }

    /// The configuration refuses circles; should there be one, it ends at the bottom of the longest chain.
    fn compute_identity(&self, position: usize, depth: usize) -> SourceIdentity {
        let source = &self.sources[position];
        let own = SourceIdentity::from_source(source);
        if source.inputs().is_empty() || depth >= self.sources.len() {
            return own;
        }
        let inputs = source
            .inputs()
            .iter()
            .filter_map(|name| self.position(name.as_str()));
        own.with_inputs(inputs.map(|input| self.compute_identity(input, depth + 1)))
    }
}
