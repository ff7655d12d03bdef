//! Evaluation of a filter over a body: body → JSON → jq → data, in the calling process.

use jaq_core::data::JustLut;
use jaq_core::{Ctx, Vars};
use jaq_json::Val;

use super::compile::{FilterProgram, compile_here};
use super::error::ExtractError;
use super::filter::max_result_bytes;
use super::formats::read_body;
use super::natives::format_jq_error;
use super::raw_body::RawBody;
use super::writer::{JsonWriteError, write_json};
use crate::domain::Code;
use crate::text::MAX_DEPTH;

/// The most bytes of a filter's own error that are kept. An error may hold values whose text has no end.
const MAX_ERROR_BYTES: usize = 1 << 16;

/// Converts `body` from its format, evaluates `filter` over it and checks the result. Returns JSON on one line.
///
/// Nothing bounds the time, memory and stack of the evaluation: only a worker calls this with any filter but `.`.
pub(super) fn evaluate_body(filter: &str, body: &RawBody) -> Result<String, ExtractError> {
    let input = read_body(body)?;
    // A filter that passes its input through must not fail by its size.
    let limit = max_result_bytes(body.bytes.len());
    if filter.trim() == "." {
        return write_result(&input, limit);
    }
    let program = compile_here(filter).map_err(|error| extract_failed(error.to_string()))?;
    let output = run_program(&program, input)?;
    write_result(&output, limit)
}

/// Returns the one output of `program`. An error may repeat without end, so evaluation stops at the first.
fn run_program(program: &FilterProgram, input: Val) -> Result<Val, ExtractError> {
    let context = Ctx::<JustLut<Val>>::new(&program.lut, Vars::new([]));
    let mut outputs = program.id.run((context, input));
    let output = match outputs.next() {
        None => return Err(extract_failed("the filter gave no result")),
        Some(output) => output.map_err(thrown_error)?,
    };
    match outputs.next() {
        None => Ok(output),
        Some(Ok(_)) => Err(extract_failed(
            "the filter gave several results; wrap them in [ ] or take the first(…)",
        )),
        Some(Err(thrown)) => Err(thrown_error(thrown)),
    }
}

fn thrown_error(thrown: jaq_core::Exn<'_, Val>) -> ExtractError {
    let Ok(error) = thrown.get_err() else {
        return extract_failed("the filter ended by a jump out of itself");
    };
    let (text, is_whole) = format_jq_error(&error, MAX_ERROR_BYTES);
    // A text is quoted as it is, without the quotation marks of JSON.
    let text = match is_whole.then(|| error.into_val()) {
        Some(Val::TStr(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => text,
    };
    ExtractError::with_quote(Code::ExtractFailed, "the filter's error", text.as_bytes())
}

/// Writes `output` as JSON. Fails if JSON cannot represent it, and if it is `null` or an object of nulls only.
fn write_result(output: &Val, limit: usize) -> Result<String, ExtractError> {
    let is_null = |value: &Val| matches!(value, Val::Null);
    match output {
        Val::Null => {
            return Err(extract_failed(
                "the filter gave null; `// \"none\"` behind it gives a value where there is none",
            ));
        }
        Val::Obj(members) if !members.is_empty() && members.values().all(is_null) => {
            return Err(extract_failed(
                "the filter gave an object of nulls only; `// \"none\"` behind a member gives a value where there is none",
            ));
        }
        _ => {}
    }
    write_json(output, limit).map_err(|error| {
        extract_failed(match error {
            JsonWriteError::TooLarge => format!("the filter gave more than {limit} bytes"),
            JsonWriteError::TooDeep => format!("the filter gave more than {MAX_DEPTH} levels"),
            error => format!("the filter gave what JSON cannot hold: {error}"),
        })
    })
}

fn extract_failed(message: impl Into<String>) -> ExtractError {
    ExtractError::new(Code::ExtractFailed, message)
}
