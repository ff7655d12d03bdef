//! Replaces the operators of a parsed filter whose results in jaq differ from jq's, by calls of the prelude.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

use super::term_visitor::visit_terms;

/// The variable that holds the right side of `p += x` and the like. Filters do not use names that begin so.
const OPERAND: &str = "$__x";

/// Maximum depth of a term that [`is_single`] inspects.
const MAX_LOOK_DEPTH: usize = 8;

/// Functions without arguments that have one output.
const SINGLE_CALLS: &[&str] = &[
    "length",
    "tonumber",
    "tostring",
    "floor",
    "round",
    "ceil",
    "add",
    "fromdate",
    "mktime",
    "keys",
    "null",
    "true",
    "false",
    "not",
    "__index",
    "__index_up",
];

/// Replaces, in `term` and all its parts: `%`, `*` and `/`; assignments; indices that are calculated; interpolation;
/// updates of `reduce` that may have several outputs.
pub(super) fn substitute_operators(term: &mut Term<&str>) {
    visit_terms(term, replace);
}

fn replace(term: &mut Term<&str>) {
    // Taken out and put back: the parts move into the new term without a copy.
    *term = match std::mem::take(term) {
        Term::BinOp(left, BinaryOp::Math(Math::Mul), right) => call("__mul", [*left, *right]),
        Term::BinOp(left, BinaryOp::Math(Math::Div), right) => call("__div", [*left, *right]),
        Term::BinOp(left, BinaryOp::Math(Math::Rem), right) => call("__rem", [*left, *right]),
        // The right side varies slowest.
        Term::BinOp(left, op @ (BinaryOp::Math(_) | BinaryOp::Cmp(_)), right)
            if !is_single(&right, 0) && !is_single(&left, 0) =>
        {
            let operation = Term::BinOp(Box::default(), op, Box::new(Term::Var(OPERAND)));
            let operation = Term::BinOp(left, BinaryOp::Pipe(None), Box::new(operation));
            let bind = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
            Term::BinOp(right, bind, Box::new(operation))
        }
        Term::BinOp(left, BinaryOp::Assign, right) => call("__assign", [*left, *right]),
        Term::BinOp(left, BinaryOp::Update, right) => call("__update", [*left, *right]),
        Term::BinOp(left, BinaryOp::UpdateMath(op), right) => {
            update_with_operand(*left, BinaryOp::Math(op), right)
        }
        Term::BinOp(left, BinaryOp::UpdateAlt, right) => {
            update_with_operand(*left, BinaryOp::Alt, right)
        }
        Term::Path(base, Path(parts)) => {
            let parts = parts.into_iter();
            let parts = parts.map(|(part, optional)| (round_index(part), optional));
            Term::Path(base, Path(parts.collect()))
        }
        Term::Str(None, parts) if parts.iter().any(|part| matches!(part, StrPart::Term(_))) => {
            Term::Str(Some("@text"), parts)
        }
        Term::Fold("reduce", over, pattern, mut arguments) if arguments.len() == 2 => {
            let update = arguments.pop().unwrap_or_default();
            arguments.push(call("last", [update]));
            Term::Fold("reduce", over, pattern, arguments)
        }
        other => other,
    };
}

fn call<'s, const N: usize>(name: &'s str, arguments: [Term<&'s str>; N]) -> Term<&'s str> {
    Term::Call(name, arguments.into())
}

/// `right as $x | left |= (. op $x)`.
fn update_with_operand<'s>(
    left: Term<&'s str>,
    op: BinaryOp<&'s str>,
    right: Box<Term<&'s str>>,
) -> Term<&'s str> {
    let updated = Term::BinOp(Box::default(), op, Box::new(Term::Var(OPERAND)));
    let update = call("__update", [left, updated]);
    let bind = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
    Term::BinOp(right, bind, Box::new(update))
}

/// Rounds the bounds of a slice and an index that are no literals. A slice becomes an index `{start, end}`: `null` has
/// slices of that kind, and paths hold them.
fn round_index<'s>(part: Part<Term<&'s str>>) -> Part<Term<&'s str>> {
    let round = |index: Term<&'s str>, name| match index {
        Term::Str(..) | Term::Arr(_) => index,
        Term::Num(text) if text.parse::<isize>().is_ok() => index,
        index => Term::BinOp(
            Box::new(index),
            BinaryOp::Pipe(None),
            Box::new(call(name, [])),
        ),
    };
    match part {
        Part::Range(None, None) => part,
        Part::Index(index) => Part::Index(round(index, "__index")),
        Part::Range(from, to) => {
            let bound = |bound: Option<_>, rounding| match bound {
                Some(bound) => round(bound, rounding),
                None => call("null", []),
            };
            let name = |name| Term::Str(None, vec![StrPart::Str(name)]);
            Part::Index(Term::Obj(vec![
                (name("start"), Some(bound(from, "__index"))),
                (name("end"), Some(bound(to, "__index_up"))),
            ]))
        }
    }
}

/// Returns whether `term` has at most one output by its form alone. `false` if that is unknown.
fn is_single(term: &Term<&str>, depth: usize) -> bool {
    let inner = |term: &Term<&str>| depth < MAX_LOOK_DEPTH && is_single(term, depth + 1);
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) | Term::Arr(_) => true,
        Term::Neg(term) => inner(term),
        Term::Str(_, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        Term::BinOp(left, BinaryOp::Math(_) | BinaryOp::Cmp(_) | BinaryOp::Pipe(_), right) => {
            inner(left) && inner(right)
        }
        Term::Path(base, Path(parts)) => {
            let is_index = |part: &Part<_>| matches!(part, Part::Index(index) if inner(index));
            inner(base) && parts.iter().all(|(part, _)| is_index(part))
        }
        Term::Call(name, arguments) => arguments.is_empty() && SINGLE_CALLS.contains(name),
        _ => false,
    }
}
