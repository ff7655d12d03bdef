//! Native functions in place of jaq's: strict readers of JSON and of numbers.

use std::fmt::Write as _;

use jaq_core::data::JustLut;
use jaq_core::native::{Fun, bome, run, v};
use jaq_json::{Error, Val, ValR};

use super::depth::{MAX_DEPTH, find_excess_depth};
use super::json::check_strict;
use super::reader::{number_value, read_json};

/// Returns the functions.
pub(super) fn native_functions() -> Vec<Fun<JustLut<Val>>> {
    vec![
        run(("tonumber", v(0), |cv| bome(parse_number(cv.1)))),
        run(("fromjson", v(0), |cv| bome(parse_json(&cv.1)))),
    ]
}

/// Reads `+1`, `.5` and `007`, too: no JSON, but what people write. jaq's own accepts NaN and comments.
fn parse_number(value: Val) -> ValR {
    let text = match &value {
        Val::Num(_) => return Ok(value),
        Val::TStr(text) => std::str::from_utf8(text).unwrap_or_default().trim(),
        _ => "",
    };
    let is_numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.bytes().all(is_numeric) {
        return Err(Error::typ(value, "number"));
    }
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
    if find_excess_depth(bytes, MAX_DEPTH).is_some() {
        return Err(Error::str(format_args!(
            "cannot read as JSON: more than {MAX_DEPTH} levels"
        )));
    }
    check_strict(text).map_err(|flaw| Error::str(format_args!("cannot read as JSON: {flaw}")))?;
    Ok(read_json(bytes))
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
