//! Instrumentation of a filter: inserts checks of the limits into the parsed filter before it is
//! compiled.
//!
//! The outputs of every operand, a part whose outputs another part consumes, pass through `__pass`.
//! A value that becomes an element passes through `__keep`, the value of a loop through `__round`.
//! Arithmetic and conversions to text become calls of functions that check the limits. The last
//! part of a sequence is unchanged, because jaq recognises tail calls there.
//!
//! Every repetition passes a check: filters cannot define functions (`def` is not allowed), so they
//! repeat only through functions of the library, which is instrumented too.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

type FilterTerm<'s> = Term<&'s str>;

/// Variable for the right side of `+=` and other updates; a filter cannot use the name, which has a
/// space.
const OPERAND_VARIABLE: &str = "$ operand";

/// Instruments a definition of the library.
pub(crate) fn instrument_definition(def: Def<&str>) -> Def<&str> {
    Def {
        body: instrument_tail(def.body),
        ..def
    }
}

/// Instruments a part whose outputs are the outputs of the whole.
pub(crate) fn instrument_tail(term: FilterTerm<'_>) -> FilterTerm<'_> {
    match term {
        Term::Str(format, parts) => instrument_string(format, parts),
        Term::Arr(Some(items)) => {
            Term::Arr(Some(boxed(pipe_through("__keep", instrument_tail(*items)))))
        }
        Term::Obj(members) => Term::Obj(members.into_iter().map(instrument_member).collect()),
        Term::Neg(term) => Term::Neg(boxed(instrument_operand(*term))),
        Term::BinOp(left, op, right) => instrument_binary(*left, op, *right),
        Term::Label(name, term) => Term::Label(name, boxed(instrument_tail(*term))),
        Term::Fold(kind, over, pattern, args) => instrument_fold(kind, *over, pattern, args),
        Term::TryCatch(term, None) => Term::Call("__optional", vec![instrument_tail(*term)]),
        Term::TryCatch(term, Some(catch)) => Term::Call(
            "__try",
            vec![instrument_tail(*term), instrument_tail(*catch)],
        ),
        Term::IfThenElse(cases, last) => Term::IfThenElse(
            cases
                .into_iter()
                .map(|(condition, then)| (instrument_operand(condition), instrument_tail(then)))
                .collect(),
            last.map(|last| boxed(instrument_tail(*last))),
        ),
        Term::Def(defs, term) => Term::Def(
            defs.into_iter().map(instrument_definition).collect(),
            boxed(instrument_tail(*term)),
        ),
        Term::Call(name, args) => {
            Term::Call(name, args.into_iter().map(instrument_operand).collect())
        }
        Term::Path(term, Path(parts)) => {
            let parts = parts
                .into_iter()
                .map(|(part, optional)| (instrument_path_part(part), optional));
            Term::Path(boxed(instrument_operand(*term)), Path(parts.collect()))
        }
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Arr(None)
        | Term::Break(_)
        | Term::Var(_) => term,
    }
}

/// Instruments a part whose outputs another part consumes.
fn instrument_operand(term: FilterTerm<'_>) -> FilterTerm<'_> {
    if has_one_output(&term) {
        instrument_tail(term)
    } else {
        pipe_through("__pass", instrument_tail(term))
    }
}

/// Returns whether a part has exactly one output that needs no memory, so that a check is
/// unnecessary.
fn has_one_output(term: &FilterTerm<'_>) -> bool {
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) | Term::Arr(None) => true,
        Term::Str(None, parts) => parts.iter().all(|part| !matches!(part, StrPart::Term(_))),
        Term::Path(term, Path(parts)) => {
            has_one_output(term)
                && parts
                    .iter()
                    .all(|(part, _)| matches!(part, Part::Index(index) if has_one_output(index)))
        }
        Term::Call(name, args) => args.is_empty() && name.starts_with("__"),
        _ => false,
    }
}

fn pipe_through<'s>(check: &'static str, term: FilterTerm<'s>) -> FilterTerm<'s> {
    pipe(term, None, Term::Call(check, Vec::new()))
}

fn pipe<'s>(
    left: FilterTerm<'s>,
    pattern: Option<Pattern<&'s str>>,
    right: FilterTerm<'s>,
) -> FilterTerm<'s> {
    Term::BinOp(boxed(left), BinaryOp::Pipe(pattern), boxed(right))
}

fn boxed(term: FilterTerm<'_>) -> Box<FilterTerm<'_>> {
    Box::new(term)
}

fn instrument_binary<'s>(
    left: FilterTerm<'s>,
    op: BinaryOp<&'s str>,
    right: FilterTerm<'s>,
) -> FilterTerm<'s> {
    let (left, right) = match &op {
        BinaryOp::Math(math) => {
            return Term::Call(
                calculation_name(*math),
                vec![instrument_operand(left), instrument_operand(right)],
            );
        }
        BinaryOp::UpdateMath(math) => return instrument_update(left, *math, right),
        BinaryOp::Pipe(_) | BinaryOp::Alt => (instrument_operand(left), instrument_tail(right)),
        BinaryOp::Comma => (instrument_tail(left), instrument_tail(right)),
        BinaryOp::Update => (
            instrument_assigned_path(left),
            pipe_through("__round", instrument_tail(right)),
        ),
        BinaryOp::Assign | BinaryOp::UpdateAlt => {
            (instrument_assigned_path(left), instrument_operand(right))
        }
        BinaryOp::Or | BinaryOp::And | BinaryOp::Cmp(_) => {
            (instrument_operand(left), instrument_operand(right))
        }
    };
    let op = match op {
        BinaryOp::Pipe(Some(pattern)) => BinaryOp::Pipe(Some(instrument_pattern(pattern))),
        op => op,
    };
    Term::BinOp(boxed(left), op, boxed(right))
}

/// Instruments the path of an assignment. A member access passes through `__object`, because jaq
/// does not create missing objects.
fn instrument_assigned_path(path: FilterTerm<'_>) -> FilterTerm<'_> {
    match path {
        Term::Path(term, Path(parts)) => {
            parts
                .into_iter()
                .fold(instrument_assigned_path(*term), |term, (part, optional)| {
                    let by_name = matches!(&part, Part::Index(Term::Str(..)));
                    let term = if by_name {
                        pipe_through("__object", term)
                    } else {
                        term
                    };
                    Term::Path(
                        boxed(term),
                        Path(vec![(instrument_path_part(part), optional)]),
                    )
                })
        }
        Term::BinOp(left, BinaryOp::Comma, right) => Term::BinOp(
            boxed(instrument_assigned_path(*left)),
            BinaryOp::Comma,
            boxed(instrument_assigned_path(*right)),
        ),
        other => instrument_tail(other),
    }
}

/// Rewrites `path += value` to `value as $operand | path |= . + $operand`.
fn instrument_update<'s>(
    path: FilterTerm<'s>,
    math: Math,
    value: FilterTerm<'s>,
) -> FilterTerm<'s> {
    let change = Term::Call(
        calculation_name(math),
        vec![Term::Id, Term::Var(OPERAND_VARIABLE)],
    );
    let change = Term::BinOp(
        boxed(instrument_assigned_path(path)),
        BinaryOp::Update,
        boxed(change),
    );
    pipe(
        instrument_operand(value),
        Some(Pattern::Var(OPERAND_VARIABLE)),
        change,
    )
}

fn calculation_name(math: Math) -> &'static str {
    match math {
        Math::Add => "__add",
        Math::Sub => "__sub",
        Math::Mul => "__mul",
        Math::Div => "__div",
        Math::Rem => "__rem",
    }
}

fn instrument_string<'s>(
    format: Option<&'s str>,
    parts: Vec<StrPart<&'s str, FilterTerm<'s>>>,
) -> FilterTerm<'s> {
    let part = |part| match part {
        StrPart::Term(term) if format.is_none() => {
            StrPart::Term(pipe_through("__text", instrument_operand(term)))
        }
        StrPart::Term(term) => StrPart::Term(instrument_operand(term)),
        part => part,
    };
    Term::Str(format, parts.into_iter().map(part).collect())
}

fn instrument_member<'s>(
    (name, value): (FilterTerm<'s>, Option<FilterTerm<'s>>),
) -> (FilterTerm<'s>, Option<FilterTerm<'s>>) {
    match value {
        Some(value) => (instrument_operand(name), Some(instrument_operand(value))),
        // `{a}` and `{$a}` are shorthands, recognised by their syntax, so they stay unchanged.
        None => (instrument_tail(name), None),
    }
}

fn instrument_fold<'s>(
    kind: &'s str,
    over: FilterTerm<'s>,
    pattern: Pattern<&'s str>,
    args: Vec<FilterTerm<'s>>,
) -> FilterTerm<'s> {
    let arg = |(position, arg)| match position {
        0 => instrument_operand(arg),
        1 => pipe_through("__round", instrument_tail(arg)),
        _ => instrument_tail(arg),
    };
    let args = args.into_iter().enumerate().map(arg).collect();
    Term::Fold(
        kind,
        boxed(instrument_operand(over)),
        instrument_pattern(pattern),
        args,
    )
}

fn instrument_pattern(pattern: Pattern<&str>) -> Pattern<&str> {
    match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(instrument_pattern).collect()),
        Pattern::Obj(members) => Pattern::Obj(
            members
                .into_iter()
                .map(|(name, value)| (instrument_operand(name), instrument_pattern(value)))
                .collect(),
        ),
    }
}

fn instrument_path_part(part: Part<FilterTerm<'_>>) -> Part<FilterTerm<'_>> {
    match part {
        Part::Index(index) => Part::Index(instrument_operand(index)),
        Part::Range(from, to) => {
            Part::Range(from.map(instrument_operand), to.map(instrument_operand))
        }
    }
}
