//! The sources of a configuration.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::identity::SourceIdentity;
use super::name::Name;
use super::source::Source;

/// Sources in configured order, fetched sources before derived ones, with an index by name.
#[derive(Debug, Default)]
pub struct SourceSet {
    sources: Vec<Arc<Source>>,
    identities: Vec<SourceIdentity>,
    index: HashMap<Name, usize>,
}

impl SourceSet {
    /// Returns the set of `sources`, whose names must be unique.
    pub fn new(sources: Vec<Arc<Source>>) -> Self {
        let index = sources
            .iter()
            .enumerate()
            .map(|(position, source)| (source.name.clone(), position))
            .collect();
        let mut set = Self {
            sources,
            identities: Vec::new(),
            index,
        };
        set.identities = (0..set.sources.len())
            .map(|position| set.compute_identity(position, 0))
            .collect();
        set
    }

    /// Returns the sources, in order.
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    /// Returns the positions of the derived sources.
    pub fn derived_positions(&self) -> Range<usize> {
        let first = self.sources.partition_point(|source| !source.is_derived());
        first..self.sources.len()
    }

    /// Returns the position of the source of this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Returns the source of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.position(name).map(|position| &self.sources[position])
    }

    /// Returns the identity of the source at `position`. That of a derived source includes the
    /// identities of its inputs, because other inputs make another value.
    pub fn identity(&self, position: usize) -> SourceIdentity {
        self.identities[position]
    }

    fn compute_identity(&self, position: usize, depth: usize) -> SourceIdentity {
        let source = &self.sources[position];
        let own = SourceIdentity::from_source(source);
        // Validation rejects cycles of inputs; the depth limit bounds the recursion without it.
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
