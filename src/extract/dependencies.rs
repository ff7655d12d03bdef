//! Which definitions of the library a filter can reach.
//!
//! Compiling the whole library takes milliseconds and each program would keep a copy of it; a configuration may have
//! ten thousand filters, most of which call one or two functions.

use std::collections::{HashMap, HashSet};

use jaq_core::load::parse::{Def, Term};

use super::term_visitor::visit_terms;

/// For each name of the library, the names that its definitions call, for any number of arguments.
#[derive(Debug)]
pub(crate) struct CallGraph(HashMap<&'static str, Vec<&'static str>>);

impl CallGraph {
    /// Returns the call graph of `definitions`.
    pub(crate) fn new(definitions: &[Def<&'static str>]) -> Self {
        let mut calls: HashMap<&str, Vec<&str>> = HashMap::new();
        for definition in definitions {
            // A copy, once per process: the visitor may change terms, and the definitions are shared.
            visit_calls(&mut definition.body.clone(), |name| {
                calls.entry(definition.name).or_default().push(name);
            });
        }
        Self(calls)
    }

    /// Returns the names that `term` calls, transitively.
    pub(crate) fn reachable_names<'s>(&self, term: &mut Term<&'s str>) -> HashSet<&'s str>
    where
        'static: 's,
    {
        let mut open: Vec<&'s str> = Vec::new();
        visit_calls(term, |name| open.push(name));
        let mut reached = HashSet::new();
        while let Some(name) = open.pop() {
            if reached.insert(name) {
                open.extend(self.0.get(name).into_iter().flatten().copied());
            }
        }
        reached
    }
}

/// Calls `found` with every name that is called in `term`, formats like `@csv` included.
fn visit_calls<'s>(term: &mut Term<&'s str>, mut found: impl FnMut(&'s str)) {
    visit_terms(term, |term| match term {
        Term::Call(name, _) | Term::Str(Some(name), _) => found(name),
        _ => {}
    });
}
