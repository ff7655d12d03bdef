//! The program's native functions for filters: checks of the limits, arithmetic and text within the
//! limits, `range`, and strict parsers of JSON and of numbers.

use std::cmp::Ordering;
use std::fmt::Write as _;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::ops::Math;
use jaq_core::{Bind, Cv, Exn, Native, ValX};
use jaq_json::{Error, Map, Num, Rc, Val, ValR};
use jaq_std::ValT as _;

use super::depth::{MAX_DEPTH, find_excess_depth};
use super::json::check_strict;
use super::limits::{EvaluationLimits, LimitedData, MEMBER_BYTES, shallow_bytes};
use super::reader;
use super::reader::MAX_EXACT_INTEGER;
use super::writer::{JsonWriteError, write_json};

type FilterOutputs<'a> = BoxIter<'a, ValX<'a, Val>>;

/// Maximum size of a parsed value per byte of its text (`[{},{},…`), in bytes.
const PARSED_BYTES_PER_BYTE: usize = 40;
/// Maximum size of a string that is a slice of another one, without its text, in bytes.
pub(crate) const SUBSTRING_BYTES: usize = 64;
/// Maximum size of an error that `catch` receives, in bytes.
const MAX_CAUGHT_ERROR_BYTES: usize = 1 << 16;

/// An identity function that checks its input with `$check`, or with `$path_check` when paths are
/// evaluated.
macro_rules! checkpoint {
    ($name:literal, $check:path, $path_check:path) => {
        (
            $name,
            v(0),
            Native::<LimitedData>::new(|cv| {
                $check(cv.0.data().limits, &cv.1);
                box_once(Ok(cv.1))
            })
            .with_paths(|cv| {
                $path_check(cv.0.data().limits, &cv.1.0);
                box_once(Ok(cv.1))
            })
            .with_update(|cv, change| {
                $check(cv.0.data().limits, &cv.1);
                change(cv.1)
            }),
        )
    };
}

/// Returns all functions. A filter cannot call those whose names begin with `__`; `instrument`
/// inserts calls of them.
pub(crate) fn native_functions() -> Vec<Fun<LimitedData>> {
    vec![
        checkpoint!(
            "__pass",
            EvaluationLimits::check_passed,
            EvaluationLimits::check_passed
        ),
        checkpoint!(
            "__keep",
            EvaluationLimits::check_element,
            EvaluationLimits::check_element
        ),
        checkpoint!(
            "__round",
            EvaluationLimits::check_round,
            EvaluationLimits::check_path_step
        ),
        ("__object", v(0), create_missing_object()),
        run::<LimitedData>(("__add", v(2), |cv| calculate(cv, Math::Add))),
        run::<LimitedData>(("__sub", v(2), |cv| calculate(cv, Math::Sub))),
        run::<LimitedData>(("__mul", v(2), |cv| calculate(cv, Math::Mul))),
        run::<LimitedData>(("__div", v(2), |cv| calculate(cv, Math::Div))),
        run::<LimitedData>(("__rem", v(2), |cv| calculate(cv, Math::Rem))),
        run::<LimitedData>(("__text", v(0), |cv| {
            bome(if let Val::TStr(_) = cv.1 {
                Ok(cv.1)
            } else {
                to_json(&cv)
            })
        })),
        (
            "__try",
            [Bind::Fun(()), Bind::Fun(())].into(),
            Native::<LimitedData>::new(try_catch).with_paths(|mut cv| {
                let _catch = cv.0.pop_fun();
                let (body, context) = cv.0.pop_fun();
                body.paths((context, cv.1))
            }),
        ),
        (
            "__optional",
            [Bind::Fun(())].into(),
            Native::<LimitedData>::new(|mut cv| {
                let (body, context) = cv.0.pop_fun();
                stop_at_error(body.run::<LimitedData>((context, cv.1)))
            })
            .with_paths(|mut cv| {
                let (body, context) = cv.0.pop_fun();
                stop_at_error(body.paths::<LimitedData>((context, cv.1)))
            }),
        ),
        run::<LimitedData>(("range", v(3), range)),
        run::<LimitedData>(("tonumber", v(0), |cv| bome(to_number(cv.1)))),
        run::<LimitedData>(("tojson", v(0), |cv| bome(to_json(&cv)))),
        run::<LimitedData>(("fromjson", v(0), |cv| bome(from_json(&cv)))),
    ]
}

/// An identity function that replaces `null` by an empty object in an update, as in jq, where `.a.b
/// = 1` creates missing objects.
fn create_missing_object() -> Native<LimitedData> {
    Native::<LimitedData>::new(|cv| box_once(Ok(cv.1)))
        .with_paths(|cv| box_once(Ok(cv.1)))
        .with_update(|cv, change| {
            change(if let Val::Null = cv.1 {
                Val::obj(Map::default())
            } else {
                cv.1
            })
        })
}

/// Returns `left op right`. A number that a double does not represent exactly is rounded to a
/// double.
fn calculate(mut cv: Cv<'_, LimitedData>, op: Math) -> FilterOutputs<'_> {
    let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
    let limits = cv.0.data().limits;
    // If the left operand has no other owner, jaq extends it in place.
    drop(cv);
    limits.check_limits();
    limits.charge_bytes(result_cost(&left, op, &right, limits.remaining_bytes()));
    bome(match (left, right) {
        (left @ Val::Num(_), right @ Val::Num(_)) => {
            op.run(to_double(left), to_double(right)).map(to_double)
        }
        (left, right) => op.run(left, right),
    })
}

/// Returns the maximum memory of the result beyond its operands, in bytes; any number above
/// `max_bytes` if it exceeds that.
fn result_cost(left: &Val, op: Math, right: &Val, max_bytes: usize) -> usize {
    let copied = match left {
        Val::TStr(text) | Val::BStr(text) if text.is_unique() => 0,
        Val::Arr(items) if Rc::strong_count(items) == 1 => 0,
        Val::Obj(members) if Rc::strong_count(members) == 1 => 0,
        left => shallow_bytes(left),
    };
    match (left, op, right) {
        (Val::Num(_), Math::Mul, text @ (Val::TStr(_) | Val::BStr(_)))
        | (text @ (Val::TStr(_) | Val::BStr(_)), Math::Mul, Val::Num(_)) => {
            let times = [left, right]
                .into_iter()
                .find_map(Val::as_f64)
                .unwrap_or_default();
            shallow_bytes(text).saturating_mul(times as usize)
        }
        (Val::TStr(text) | Val::BStr(text), Math::Div, Val::TStr(mark) | Val::BStr(mark)) => {
            let marks = if mark.is_empty() {
                text.len()
            } else {
                text.windows(mark.len()).filter(|w| *w == &mark[..]).count()
            };
            (marks + 1).saturating_mul(SUBSTRING_BYTES)
        }
        (Val::Obj(left), Math::Mul, Val::Obj(right)) => merge_cost(left, right, max_bytes),
        _ => copied + shallow_bytes(right),
    }
}

/// Returns the memory to merge `right` into `left`, in bytes; the count stops above `max_bytes`.
/// Members of both are merged recursively, and a shared object is copied first, with all objects
/// below it.
fn merge_cost(left: &Rc<Map>, right: &Rc<Map>, max_bytes: usize) -> usize {
    let mut open = vec![(left, right, false)];
    let mut bytes = 0_usize;
    while let Some((left, right, copied)) = open.pop() {
        let copied = copied || Rc::strong_count(left) > 1;
        bytes += (if copied { left.len() } else { 0 } + right.len()) * MEMBER_BYTES;
        if bytes > max_bytes {
            break;
        }
        open.extend(
            right
                .iter()
                .filter_map(|(name, right)| match (left.get(name)?, right) {
                    (Val::Obj(left), Val::Obj(right)) => Some((left, right, copied)),
                    _ => None,
                }),
        );
    }
    bytes
}

fn to_double(value: Val) -> Val {
    let is_inexact = match &value {
        Val::Num(Num::Int(i)) => i.unsigned_abs() as u64 > MAX_EXACT_INTEGER,
        Val::Num(Num::BigInt(_)) => true,
        _ => false,
    };
    if is_inexact {
        value.as_f64().map_or(value, Val::from)
    } else {
        value
    }
}

fn range(mut cv: Cv<'_, LimitedData>) -> FilterOutputs<'_> {
    let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
    let limits = cv.0.data().limits;
    if let Some(other) = [&from, &to, &by]
        .into_iter()
        .find(|v| !matches!(v, Val::Num(_)))
    {
        return bome(Err(Error::typ(other.clone(), "number")));
    }
    let direction = by.cmp(&Val::from(0_usize));
    let mut next = Some(from);
    Box::new(std::iter::from_fn(move || {
        limits.check_limits();
        let current = next.take()?;
        let is_inside = match direction {
            Ordering::Greater => current < to,
            Ordering::Less => current > to,
            Ordering::Equal => current != to,
        };
        next = (current.clone() + by.clone()).ok();
        is_inside.then_some(Ok(current))
    }))
}

fn to_number(value: Val) -> ValR {
    let text = match &value {
        Val::Num(_) => return Ok(value),
        Val::TStr(text) => std::str::from_utf8(text).unwrap_or_default().trim(),
        _ => "",
    };
    let is_numeric = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if is_numeric && check_strict(text).is_ok() {
        return Ok(reader::number_value(text));
    }
    // `+1`, `.5` and `007` are not JSON but common.
    match text.parse::<f64>() {
        Ok(f) if is_numeric && f.is_finite() => Ok(Val::from(f)),
        _ => Err(Error::typ(value, "number")),
    }
}

fn to_json(cv: &Cv<'_, LimitedData>) -> ValR {
    let limits = cv.0.data().limits;
    match write_json(&cv.1, limits.remaining_bytes()) {
        Ok(text) => {
            limits.charge_bytes(text.len());
            Ok(Val::utf8_str(text))
        }
        Err(JsonWriteError::TooLarge) => {
            limits.charge_bytes(usize::MAX);
            Ok(Val::Null)
        }
        Err(error) => Err(Error::str(format_args!("cannot write {error} as JSON"))),
    }
}

fn from_json(cv: &Cv<'_, LimitedData>) -> ValR {
    let Val::TStr(bytes) = &cv.1 else {
        return Err(Error::typ(cv.1.clone(), "string"));
    };
    cv.0.data()
        .limits
        .charge_bytes(bytes.len().saturating_mul(PARSED_BYTES_PER_BYTE));
    let text =
        std::str::from_utf8(bytes).map_err(|_| Error::str("cannot read as JSON: not UTF-8"))?;
    if find_excess_depth(bytes, MAX_DEPTH).is_some() {
        return Err(Error::str(format_args!(
            "cannot read as JSON: more than {MAX_DEPTH} levels"
        )));
    }
    check_strict(text).map_err(|error| Error::str(format_args!("cannot read as JSON: {error}")))?;
    Ok(reader::read_json(bytes))
}

/// Runs `try body catch handler`; the handler receives an error of limited size.
fn try_catch(mut cv: Cv<'_, LimitedData>) -> FilterOutputs<'_> {
    let (catch, catch_context) = cv.0.pop_fun();
    let (body, context) = cv.0.pop_fun();
    let mut outputs = Some(body.run::<LimitedData>((context, cv.1)));
    let mut caught: Option<FilterOutputs<'_>> = None;
    Box::new(std::iter::from_fn(move || {
        if let Some(caught) = &mut caught {
            return caught.next();
        }
        match outputs.as_mut()?.next()? {
            Ok(output) => Some(Ok(output)),
            Err(exception) => match Exn::get_err(exception) {
                Err(other) => Some(Err(other)),
                Ok(error) => {
                    outputs = None;
                    caught
                        .insert(
                            catch.run::<LimitedData>((catch_context.clone(), error_value(error))),
                        )
                        .next()
                }
            },
        }
    }))
}

/// Runs `body?`, which drops an error. jaq's version formats the error first, which can take very
/// long.
fn stop_at_error<'a, T: 'a>(
    outputs: BoxIter<'a, ValX<'a, T, Val>>,
) -> BoxIter<'a, ValX<'a, T, Val>> {
    let output = |output: ValX<'a, T, Val>| match output {
        Ok(output) => Some(Ok(output)),
        Err(exception) => Exn::get_err(exception).err().map(Err),
    };
    Box::new(outputs.map_while(output).fuse())
}

/// Returns the value of an error, or the beginning of its text if that is too long.
fn error_value(error: Error) -> Val {
    match format_error(&error, MAX_CAUGHT_ERROR_BYTES) {
        (_, true) => error.into_val(),
        (start, false) => Val::utf8_str(start),
    }
}

/// Returns the text of `error`, cut to `limit` bytes, and whether it is complete. An error can
/// contain values whose complete text would take too long to write.
pub(crate) fn format_error(error: &Error, limit: usize) -> (String, bool) {
    let mut out = BoundedText {
        text: String::new(),
        limit,
    };
    let is_complete = write!(out, "{error}").is_ok();
    (out.text, is_complete)
}

/// A text that fails to grow beyond `limit` bytes.
struct BoundedText {
    text: String,
    limit: usize,
}

impl std::fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let remaining = self.limit - self.text.len();
        let cut = (0..=text.len().min(remaining))
            .rev()
            .find(|cut| text.is_char_boundary(*cut))
            .unwrap_or(0);
        self.text.push_str(&text[..cut]);
        if cut < text.len() {
            Err(std::fmt::Error)
        } else {
            Ok(())
        }
    }
}
