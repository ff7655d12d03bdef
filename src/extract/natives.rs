//! Native functions in place of jaq's: readers and writers of JSON and numbers, arithmetic and updates as jq has them.

use std::fmt::Write as _;

use jaq_core::data::JustLut;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{Bind, Cv, Exn, ValXs};
use jaq_json::{Error, Num, Val, ValR};
use jaq_std::ValT as _;

use super::json::check_strict;
use super::reader::{MAX_EXACT_INTEGER, number_value, read_json};
use super::regexes::{edits, is_match, match_objects};
use super::update::{delete_paths, get_path, set_path};
use super::writer::write_json_text;
use crate::text::{MAX_DEPTH, find_excess_depth};

/// Returns the functions. Those that begin with `__` are called by the prelude and by terms that [`super::substitute`]
/// makes.
pub(super) fn native_functions() -> Vec<Fun<JustLut<Val>>> {
    let update = [Bind::Var(()), Bind::Fun(())].into();
    vec![
        run(("tonumber", v(0), |cv| bome(parse_number(cv.1)))),
        run(("fromjson", v(0), |cv| bome(parse_json(&cv.1)))),
        run(("tojson", v(0), |cv| bome(json_text(&cv.1)))),
        run(("tostring", v(0), |cv| {
            bome(match cv.1 {
                text @ Val::TStr(_) => Ok(text),
                other => json_text(&other),
            })
        })),
        run(("__index", v(0), |cv| bome(Ok(floor_index(cv.1))))),
        run(("__index_up", v(0), |cv| bome(Ok(ceil_index(cv.1))))),
        run(("__multiply", v(1), |cv| unary(cv, multiply))),
        run(("__divide", v(1), |cv| unary(cv, divide))),
        run(("__remainder", v(1), |cv| unary(cv, remainder))),
        run(("__is_match", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(is_match(&cv.1, &expression, &flags))
        })),
        run(("__matches", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(match_objects(&cv.1, &expression, &flags))
        })),
        run(("__edits", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(edits(&cv.1, &expression, &flags))
        })),
        run(("__lossy", v(0), |cv| {
            bome(Ok(match cv.1 {
                Val::TStr(bytes) | Val::BStr(bytes) => {
                    Val::from(String::from_utf8_lossy(&bytes).into_owned())
                }
                other => other,
            }))
        })),
        run(("__base32", v(0), |cv| bome(encode_base32(&cv.1)))),
        run(("__base32d", v(0), |cv| bome(decode_base32(&cv.1)))),
        run(("__set_paths", v(2), |mut cv| {
            let (value, paths) = (cv.0.pop_var(), cv.0.pop_var());
            bome(set_paths(cv.1, &paths, &value))
        })),
        run(("delpaths", v(1), |cv| {
            unary(cv, |root, paths| delete_all(root, &paths))
        })),
        run(("__update_paths", update, |cv| update_paths(cv))),
    ]
}

fn json_text(value: &Val) -> ValR {
    write_json_text(value).map(Val::from).map_err(Error::str)
}

/// Reads `+1`, `.5` and `007`, too: no JSON, but what people write. jaq's own accepts NaN and comments.
fn parse_number(value: Val) -> ValR {
    let text = match &value {
        Val::Num(_) => return Ok(value),
        Val::TStr(text) => std::str::from_utf8(text).unwrap_or_default().trim(),
        _ => "",
    };
    // Rust also reads `inf` and `nan` as doubles; jq does not.
    let is_numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.bytes().all(is_numeric) {
        return Err(Error::typ(value, "number"));
    }
    // A number of JSON keeps its digits; any other one becomes a double.
    if check_strict(text).is_ok() {
        return Ok(number_value(text));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Val::from(number)),
        _ => Err(Error::typ(value, "number")),
    }
}

fn parse_json(value: &Val) -> ValR {
    let Val::TStr(bytes) = value else {
        return Err(Error::typ(value.clone(), "string"));
    };
    let text =
        std::str::from_utf8(bytes).map_err(|_| Error::str("cannot read as JSON: not UTF-8"))?;
    // The reader below recurses per level.
    if find_excess_depth(bytes, MAX_DEPTH).is_some() {
        return Err(Error::str(format_args!(
            "cannot read as JSON: more than {MAX_DEPTH} levels"
        )));
    }
    check_strict(text).map_err(|flaw| Error::str(format_args!("cannot read as JSON: {flaw}")))?;
    Ok(read_json(bytes))
}

/// Rounds an index down. jaq indexes by integers only.
fn floor_index(index: Val) -> Val {
    match &index {
        Val::Num(Num::Float(_) | Num::Dec(_)) => index
            .as_f64()
            .map(f64::floor)
            .filter(|floor| floor.abs() <= MAX_EXACT_INTEGER as f64)
            .map_or(index, |floor| Val::from(floor as isize)),
        _ => index,
    }
}

/// Rounds the end of a slice up.
fn ceil_index(index: Val) -> Val {
    match &index {
        Val::Num(Num::Float(_) | Num::Dec(_)) => {
            floor_index(Val::from(index.as_f64().unwrap_or(f64::NAN).ceil()))
        }
        _ => index,
    }
}

/// Makes an integer of a double that is one, so that it can be an index, a count and a text without a fraction.
fn whole(number: f64) -> Val {
    // Minus zero stays a double: an integer has no sign of zero.
    let is_whole = number.fract() == 0.0 && number.abs() <= MAX_EXACT_INTEGER as f64;
    if is_whole && (number != 0.0 || number.is_sign_positive()) {
        Val::from(number as isize)
    } else {
        Val::from(number)
    }
}

fn multiply(left: Val, right: Val) -> ValR {
    match (&left, &right) {
        (Val::TStr(text), Val::Num(_)) | (Val::Num(_), Val::TStr(text)) => {
            let times = left.as_f64().or(right.as_f64()).unwrap_or(f64::NAN);
            if times.is_nan() || times < 0.0 {
                return Ok(Val::Null);
            }
            Ok(Val::utf8_str(text.repeat(times as usize)))
        }
        (Val::Num(_), Val::Num(_)) => Ok(match (left * right)? {
            Val::Num(Num::Float(product)) => whole(product),
            product => product,
        }),
        _ => left * right,
    }
}

fn divide(left: Val, right: Val) -> ValR {
    match (left.as_f64(), right.as_f64()) {
        (Some(_), Some(0.0)) => Err(zero_divisor(&left, &right, "divided")),
        (Some(_), Some(_)) => Ok(match (left / right)? {
            Val::Num(Num::Float(quotient)) => whole(quotient),
            quotient => quotient,
        }),
        _ => left / right,
    }
}

/// Truncates both operands, as jq does.
fn remainder(left: Val, right: Val) -> ValR {
    let (Some(dividend), Some(divisor)) = (left.as_f64(), right.as_f64()) else {
        return left % right;
    };
    if dividend.is_nan() || divisor.is_nan() {
        return Ok(Val::from(f64::NAN));
    }
    // jq truncates first, so 0.5 is a divisor of zero.
    if divisor.trunc() == 0.0 {
        return Err(zero_divisor(&left, &right, "divided (remainder)"));
    }
    if left.is_int() && right.is_int() {
        return left % right;
    }
    let divisor = divisor as i64;
    Ok(whole(
        (dividend as i64).checked_rem(divisor).unwrap_or_default() as f64,
    ))
}

fn zero_divisor(left: &Val, right: &Val, operation: &str) -> Error {
    Error::str(format_args!(
        "{left} and {right} cannot be {operation} because the divisor is zero"
    ))
}

fn path_steps(path: &Val) -> Result<&[Val], Error> {
    match path {
        Val::Arr(steps) => Ok(steps),
        _ => Err(Error::str("a path must be specified as an array")),
    }
}

fn path_list(paths: &Val) -> Result<Vec<&[Val]>, Error> {
    let Val::Arr(paths) = paths else {
        return Err(Error::str("paths must be specified as an array"));
    };
    paths.iter().map(path_steps).collect()
}

fn set_paths(mut root: Val, paths: &Val, value: &Val) -> ValR {
    for path in path_list(paths)? {
        set_path(&mut root, path, value.clone())?;
    }
    Ok(root)
}

fn delete_all(mut root: Val, paths: &Val) -> ValR {
    let mut paths = path_list(paths)?;
    // `delete_paths` relies on the order: a path stands before the longer ones below it.
    paths.sort_unstable();
    delete_paths(&mut root, &paths)?;
    Ok(root)
}

/// Replaces the value at each path by the first output of the filter; deletes it where there is none.
fn update_paths<'a>(mut cv: Cv<'a, JustLut<Val>>) -> ValXs<'a, Val> {
    let (filter, context) = cv.0.pop_fun();
    let paths = cv.0.pop_var();
    let updated = (|| {
        let mut root = cv.1;
        let mut deleted = Vec::new();
        for path in path_list(&paths)? {
            let old = get_path(&root, path)?;
            match filter.run((context.clone(), old)).next() {
                Some(new) => set_path(&mut root, path, new?)?,
                None => deleted.push(path),
            }
        }
        // Deleted after all updates: a deletion moves the later elements of an array.
        deleted.sort_unstable();
        delete_paths(&mut root, &deleted)?;
        Ok::<_, Exn<'a, Val>>(root)
    })();
    Box::new(std::iter::once(updated))
}

/// The alphabet of RFC 4648, section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn text_bytes(value: &Val) -> Result<&[u8], Error> {
    value
        .as_bytes()
        .ok_or_else(|| Error::typ(value.clone(), "string"))
}

fn encode_base32(value: &Val) -> ValR {
    let mut text = String::new();
    for group in text_bytes(value)?.chunks(5) {
        let bits = (0..5).fold(0_u64, |bits, at| {
            bits << 8 | u64::from(group.get(at).copied().unwrap_or_default())
        });
        let digits = (group.len() * 8).div_ceil(5);
        for at in 0..8 {
            let digit = BASE32[(bits >> (35 - 5 * at)) as usize & 31];
            text.push(if at < digits { digit.into() } else { '=' });
        }
    }
    Ok(Val::from(text))
}

fn decode_base32(value: &Val) -> ValR {
    let (mut bits, mut count, mut decoded) = (0_u64, 0, Vec::new());
    for byte in text_bytes(value)?.iter().filter(|byte| **byte != b'=') {
        let digit = BASE32.iter().position(|digit| digit == byte);
        let digit =
            digit.ok_or_else(|| Error::str(format_args!("{value} is not valid base32 data")))?;
        bits = (bits << 5 | digit as u64) & 0xFFFF;
        count += 5;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    Ok(Val::from(String::from_utf8_lossy(&decoded).into_owned()))
}

/// Returns the text of `error`, cut to `limit` bytes, and whether that is all of it. An error may hold values whose text
/// takes for ever to write.
pub(super) fn format_jq_error(error: &Error, limit: usize) -> (String, bool) {
    let mut bounded = BoundedText {
        text: String::new(),
        limit,
    };
    let is_whole = write!(bounded, "{error}").is_ok();
    (bounded.text, is_whole)
}

struct BoundedText {
    text: String,
    limit: usize,
}

impl std::fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.limit - self.text.len();
        let cut = (0..=room.min(text.len()))
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
