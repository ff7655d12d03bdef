//! Which definitions of the library a filter can reach.
//!
//! Compiling the whole library takes milliseconds and each program would keep a copy of it; a configuration may have
//! ten thousand filters, most of which call one or two functions.

use std::collections::{HashMap, HashSet};

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

/// For each name of the library, the names that its definitions call, for any number of arguments.
#[derive(Debug)]
pub(crate) struct CallGraph(HashMap<&'static str, Vec<&'static str>>);

impl CallGraph {
    /// What calls what among `definitions`.
    pub(crate) fn new(definitions: &[Def<&'static str>]) -> Self {
        let mut calls: HashMap<&str, Vec<&str>> = HashMap::new();
        for definition in definitions {
            visit_calls(&definition.body, &mut |name| {
                calls.entry(definition.name).or_default().push(name);
            });
        }
        Self(calls)
    }

    /// The names that `term` calls, and that those call, and so on.
    pub(crate) fn reachable_names<'s>(&self, term: &Term<&'s str>) -> HashSet<&'s str>
    where
        'static: 's,
    {
        let mut open: Vec<&'s str> = Vec::new();
        visit_calls(term, &mut |name| open.push(name));
        let mut reached = HashSet::new();
        while let Some(name) = open.pop() {
            if reached.insert(name) {
                open.extend(self.0.get(name).into_iter().flatten().copied());
            }
        }
        reached
    }
}

/// Tells every name that is called in `term`, formats like `@csv` included.
fn visit_calls<'s>(term: &Term<&'s str>, tell: &mut dyn FnMut(&'s str)) {
    let mut open = vec![term];
    while let Some(term) = open.pop() {
        match term {
            Term::Call(name, _) | Term::Str(Some(name), _) => tell(name),
            _ => {}
        }
        push_parts(term, &mut open);
    }
}

/// Adds the parts of `term` to `open`.
pub(super) fn push_parts<'t, 's>(term: &'t Term<&'s str>, open: &mut Vec<&'t Term<&'s str>>) {
    match term {
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Arr(None)
        | Term::Break(_)
        | Term::Var(_) => {}
        Term::Arr(Some(term)) | Term::Neg(term) | Term::Label(_, term) => open.push(term),
        Term::Call(_, args) => open.extend(args),
        Term::Str(_, parts) => open.extend(parts.iter().filter_map(|part| match part {
            StrPart::Term(term) => Some(term),
            _ => None,
        })),
        Term::Obj(members) => open.extend(
            members
                .iter()
                .flat_map(|(name, value)| std::iter::once(name).chain(value)),
        ),
        Term::BinOp(left, op, right) => {
            open.extend([&**left, &**right]);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                push_pattern(pattern, open);
            }
        }
        Term::Fold(_, over, pattern, args) => {
            open.push(over);
            push_pattern(pattern, open);
            open.extend(args);
        }
        Term::TryCatch(term, catch) => {
            open.extend(std::iter::once(term).chain(catch).map(|term| &**term));
        }
        Term::IfThenElse(cases, last) => {
            open.extend(cases.iter().flat_map(|(condition, then)| [condition, then]));
            open.extend(last.as_deref());
        }
        Term::Def(definitions, term) => {
            open.extend(definitions.iter().map(|definition| &definition.body));
            open.push(term);
        }
        Term::Path(term, Path(parts)) => {
            open.push(term);
            for (part, _) in parts {
                match part {
                    Part::Index(index) => open.push(index),
                    Part::Range(from, to) => open.extend(from.iter().chain(to)),
                }
            }
        }
    }
}

fn push_pattern<'t, 's>(pattern: &'t Pattern<&'s str>, open: &mut Vec<&'t Term<&'s str>>) {
    let mut patterns = vec![pattern];
    while let Some(pattern) = patterns.pop() {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(items) => patterns.extend(items),
            Pattern::Obj(members) => {
                open.extend(members.iter().map(|(name, _)| name));
                patterns.extend(members.iter().map(|(_, value)| value));
            }
        }
    }
}
