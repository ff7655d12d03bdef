//! Puts the watch into the text of a filter, after it is parsed and before it is compiled.
//!
//! Every operand, that is every part whose outputs another part consumes, passes its outputs through `__pass`; what
//! becomes an element goes through `__keep`, what goes around a loop through `__round`; arithmetic and everything that
//! makes text of a value goes to functions that know the limits. The last part of a sequence is left as it is: there
//! jaq recognises a loop by its call of itself. So whatever repeats passes the watch, because without definitions of
//! their own (`def` is refused) filters can only repeat by what the library repeats, and that is rewritten too.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

type Text<'s> = Term<&'s str>;

/// The name under which [`update`] binds the right side of `+=` and its like. No filter can spell it.
const OPERAND: &str = "$ operand";

/// A definition of the library under watch.
pub(super) fn definition(def: Def<&str>) -> Def<&str> {
    Def {
        body: tail(def.body),
        ..def
    }
}

/// A part whose outputs are those of the whole.
pub(super) fn tail(term: Text<'_>) -> Text<'_> {
    match term {
        Term::Str(format, parts) => string(format, parts),
        Term::Arr(Some(items)) => Term::Arr(Some(boxed(through("__keep", tail(*items))))),
        Term::Obj(members) => Term::Obj(members.into_iter().map(member).collect()),
        Term::Neg(term) => Term::Neg(boxed(operand(*term))),
        Term::BinOp(left, op, right) => binary(*left, op, *right),
        Term::Label(name, term) => Term::Label(name, boxed(tail(*term))),
        Term::Fold(kind, over, pattern, args) => fold(kind, *over, pattern, args),
        Term::TryCatch(term, None) => Term::Call("__optional", vec![tail(*term)]),
        Term::TryCatch(term, Some(catch)) => Term::Call("__try", vec![tail(*term), tail(*catch)]),
        Term::IfThenElse(cases, last) => Term::IfThenElse(
            cases
                .into_iter()
                .map(|(condition, then)| (operand(condition), tail(then)))
                .collect(),
            last.map(|last| boxed(tail(*last))),
        ),
        Term::Def(defs, term) => Term::Def(
            defs.into_iter().map(definition).collect(),
            boxed(tail(*term)),
        ),
        Term::Call(name, args) => Term::Call(name, args.into_iter().map(operand).collect()),
        Term::Path(term, Path(parts)) => {
            let parts = parts
                .into_iter()
                .map(|(part, optional)| (part_of_path(part), optional));
            Term::Path(boxed(operand(*term)), Path(parts.collect()))
        }
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Arr(None)
        | Term::Break(_)
        | Term::Var(_) => term,
    }
}

/// A part whose outputs are consumed by another one.
fn operand(term: Text<'_>) -> Text<'_> {
    if is_one(&term) {
        tail(term)
    } else {
        through("__pass", tail(term))
    }
}

/// Whether a part has one output that costs nothing, so that the watch need not see it.
fn is_one(term: &Text<'_>) -> bool {
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) | Term::Arr(None) => true,
        Term::Str(None, parts) => parts.iter().all(|part| !matches!(part, StrPart::Term(_))),
        Term::Path(term, Path(parts)) => {
            is_one(term)
                && parts
                    .iter()
                    .all(|(part, _)| matches!(part, Part::Index(index) if is_one(index)))
        }
        Term::Call(name, args) => args.is_empty() && name.starts_with("__"),
        _ => false,
    }
}

fn through<'s>(watch: &'static str, term: Text<'s>) -> Text<'s> {
    pipe(term, None, Term::Call(watch, Vec::new()))
}

fn pipe<'s>(left: Text<'s>, pattern: Option<Pattern<&'s str>>, right: Text<'s>) -> Text<'s> {
    Term::BinOp(boxed(left), BinaryOp::Pipe(pattern), boxed(right))
}

fn boxed(term: Text<'_>) -> Box<Text<'_>> {
    Box::new(term)
}

fn binary<'s>(left: Text<'s>, op: BinaryOp<&'s str>, right: Text<'s>) -> Text<'s> {
    let (left, right) = match &op {
        BinaryOp::Math(math) => {
            return Term::Call(calculation(*math), vec![operand(left), operand(right)]);
        }
        BinaryOp::UpdateMath(math) => return update(left, *math, right),
        BinaryOp::Pipe(_) | BinaryOp::Alt => (operand(left), tail(right)),
        BinaryOp::Comma => (tail(left), tail(right)),
        BinaryOp::Update => (place(left), through("__round", tail(right))),
        BinaryOp::Assign | BinaryOp::UpdateAlt => (place(left), operand(right)),
        BinaryOp::Or | BinaryOp::And | BinaryOp::Cmp(_) => (operand(left), operand(right)),
    };
    let op = match op {
        BinaryOp::Pipe(Some(pattern)) => BinaryOp::Pipe(Some(pattern_of(pattern))),
        op => op,
    };
    Term::BinOp(boxed(left), op, boxed(right))
}

/// What an assignment changes. Names lead through `__object`, since jaq makes no objects where there are none.
fn place(path: Text<'_>) -> Text<'_> {
    match path {
        Term::Path(term, Path(parts)) => {
            parts
                .into_iter()
                .fold(place(*term), |term, (part, optional)| {
                    let by_name = matches!(&part, Part::Index(Term::Str(..)));
                    let term = if by_name {
                        through("__object", term)
                    } else {
                        term
                    };
                    Term::Path(boxed(term), Path(vec![(part_of_path(part), optional)]))
                })
        }
        Term::BinOp(left, BinaryOp::Comma, right) => {
            Term::BinOp(boxed(place(*left)), BinaryOp::Comma, boxed(place(*right)))
        }
        other => tail(other),
    }
}

/// `path += value` is `value as $operand | path |= . + $operand`.
fn update<'s>(path: Text<'s>, math: Math, value: Text<'s>) -> Text<'s> {
    let change = Term::Call(calculation(math), vec![Term::Id, Term::Var(OPERAND)]);
    let change = Term::BinOp(boxed(place(path)), BinaryOp::Update, boxed(change));
    pipe(operand(value), Some(Pattern::Var(OPERAND)), change)
}

fn calculation(math: Math) -> &'static str {
    match math {
        Math::Add => "__add",
        Math::Sub => "__sub",
        Math::Mul => "__mul",
        Math::Div => "__div",
        Math::Rem => "__rem",
    }
}

fn string<'s>(format: Option<&'s str>, parts: Vec<StrPart<&'s str, Text<'s>>>) -> Text<'s> {
    let part = |part| match part {
        StrPart::Term(term) if format.is_none() => StrPart::Term(through("__text", operand(term))),
        StrPart::Term(term) => StrPart::Term(operand(term)),
        part => part,
    };
    Term::Str(format, parts.into_iter().map(part).collect())
}

fn member<'s>((name, value): (Text<'s>, Option<Text<'s>>)) -> (Text<'s>, Option<Text<'s>>) {
    match value {
        Some(value) => (operand(name), Some(operand(value))),
        // `{a}` and `{$a}` mean something by their shape.
        None => (tail(name), None),
    }
}

fn fold<'s>(
    kind: &'s str,
    over: Text<'s>,
    pattern: Pattern<&'s str>,
    args: Vec<Text<'s>>,
) -> Text<'s> {
    let arg = |(position, arg)| match position {
        0 => operand(arg),
        1 => through("__round", tail(arg)),
        _ => tail(arg),
    };
    let args = args.into_iter().enumerate().map(arg).collect();
    Term::Fold(kind, boxed(operand(over)), pattern_of(pattern), args)
}

fn pattern_of(pattern: Pattern<&str>) -> Pattern<&str> {
    match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(pattern_of).collect()),
        Pattern::Obj(members) => Pattern::Obj(
            members
                .into_iter()
                .map(|(name, value)| (operand(name), pattern_of(value)))
                .collect(),
        ),
    }
}

fn part_of_path(part: Part<Text<'_>>) -> Part<Text<'_>> {
    match part {
        Part::Index(index) => Part::Index(operand(index)),
        Part::Range(from, to) => Part::Range(from.map(operand), to.map(operand)),
    }
}
