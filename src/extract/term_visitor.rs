//! The one walk over a parsed filter, by a list of open terms: recursion could exhaust the stack.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::{Part, Path};

/// Calls `visit` with `term`, then with each of its parts. What `visit` puts in place of a term is visited by its parts,
/// not once more by itself.
pub(super) fn visit_terms<'s>(term: &mut Term<&'s str>, mut visit: impl FnMut(&mut Term<&'s str>)) {
    let mut open = vec![term];
    while let Some(term) = open.pop() {
        visit(term);
        push_parts(term, &mut open);
    }
}

fn push_parts<'t, 's>(term: &'t mut Term<&'s str>, open: &mut Vec<&'t mut Term<&'s str>>) {
    match term {
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Arr(None)
        | Term::Break(_)
        | Term::Var(_) => {}
        Term::Arr(Some(term)) | Term::Neg(term) | Term::Label(_, term) => open.push(term),
        Term::Call(_, arguments) => open.extend(arguments),
        Term::Str(_, parts) => open.extend(parts.iter_mut().filter_map(|part| match part {
            StrPart::Term(term) => Some(term),
            _ => None,
        })),
        Term::Obj(members) => open.extend(
            members
                .iter_mut()
                .flat_map(|(name, value)| std::iter::once(name).chain(value)),
        ),
        Term::BinOp(left, op, right) => {
            open.extend([&mut **left, &mut **right]);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                push_pattern(pattern, open);
            }
        }
        Term::Fold(_, over, pattern, arguments) => {
            open.push(over);
            push_pattern(pattern, open);
            open.extend(arguments);
        }
        Term::TryCatch(term, catch) => {
            open.extend(std::iter::once(term).chain(catch).map(|term| &mut **term));
        }
        Term::IfThenElse(cases, last) => {
            open.extend(
                cases
                    .iter_mut()
                    .flat_map(|(condition, then)| [condition, then]),
            );
            open.extend(last.as_deref_mut());
        }
        Term::Def(definitions, term) => {
            open.extend(
                definitions
                    .iter_mut()
                    .map(|definition| &mut definition.body),
            );
            open.push(term);
        }
        Term::Path(term, Path(parts)) => {
            open.push(term);
            for (part, _) in parts {
                match part {
                    Part::Index(index) => open.push(index),
                    Part::Range(from, to) => open.extend(from.iter_mut().chain(to)),
                }
            }
        }
    }
}

fn push_pattern<'t, 's>(pattern: &'t mut Pattern<&'s str>, open: &mut Vec<&'t mut Term<&'s str>>) {
    let mut patterns = vec![pattern];
    while let Some(pattern) = patterns.pop() {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(items) => patterns.extend(items),
            Pattern::Obj(members) => {
                for (name, value) in members {
                    open.push(name);
                    patterns.push(value);
                }
            }
        }
    }
}
