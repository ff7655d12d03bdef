//! Compiled jq filters.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jaq_core::{Ctx, Vars};
use jaq_json::Val;

use super::builtins::format_error;
use super::compile::{self, FilterError, FilterProgram, compile_program};
use super::depth::MAX_DEPTH;
use super::error::ExtractError;
use super::limits::{
    CancelFlag, EvaluationAbort, EvaluationContext, EvaluationLimits, LimitedData,
    MAX_EVALUATION_BYTES, catch_abort,
};
use super::reader::read_json;
use super::writer::{JsonWriteError, write_json};
use crate::domain::Code;

/// Maximum size of a result, in bytes, unless the input is larger.
const MAX_RESULT_BYTES: usize = 1 << 20;
/// Maximum number of bytes to format of an error that a filter raises.
const MAX_ERROR_BYTES: usize = 4096;

/// A compiled jq filter. Cheap to clone.
#[derive(Clone)]
pub struct Filter {
    text: Arc<str>,
    /// `None` for the identity filter `.`.
    program: Option<Arc<FilterProgram>>,
}

impl Filter {
    /// Maximum size of the text of a filter, in bytes.
    pub const MAX_TEXT_BYTES: usize = compile::MAX_TEXT_BYTES;

    /// Compiles `text`, which may call only functions without access to the outside. Takes about 1
    /// ms.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        let program = if text.trim() == "." {
            None
        } else {
            Some(Arc::new(compile_program(text)?))
        };
        Ok(Self {
            text: text.into(),
            program,
        })
    }

    /// Returns the text of the filter.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the filter is the identity `.`.
    pub(super) fn is_identity(&self) -> bool {
        self.program.is_none()
    }

    /// Runs the filter over `json`, which must be valid JSON, until `cancel` is set. Unless the
    /// filter is the identity, the thread must have a deep stack.
    pub(super) fn run(&self, json: &Bytes, cancel: &CancelFlag) -> Result<String, ExtractError> {
        self.run_with_memory_limit(json, cancel, MAX_EVALUATION_BYTES)
    }

    /// Runs the filter like [`Self::run`] with another memory limit, in bytes.
    pub(super) fn run_with_memory_limit(
        &self,
        json: &Bytes,
        cancel: &CancelFlag,
        max_bytes: usize,
    ) -> Result<String, ExtractError> {
        let input = read_json(json);
        let max_result = json.len().max(MAX_RESULT_BYTES);
        let Some(program) = &self.program else {
            return write_checked(&input, max_result);
        };
        let limits = EvaluationLimits::new(cancel, max_bytes, json.len());
        let run = || {
            evaluate_program(program, input, &limits)
                .and_then(|output| write_checked(&output, max_result))
        };
        catch_abort(run).unwrap_or_else(|abort| Err(error_from_abort(abort)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

/// Returns the only output of `program`. Evaluation stops at the first error, because a filter can
/// raise errors without end.
fn evaluate_program(
    program: &FilterProgram,
    input: Val,
    limits: &EvaluationLimits,
) -> Result<Val, ExtractError> {
    let context = EvaluationContext {
        lut: &program.lut,
        limits,
    };
    let mut outputs = program
        .id
        .run((Ctx::<LimitedData>::new(context, Vars::new([])), input));
    let output = match outputs.next() {
        None => return Err(extract_failed("the filter gave no result")),
        Some(output) => output.map_err(error_from_exception)?,
    };
    match outputs.next() {
        None => Ok(output),
        Some(Ok(_)) => Err(extract_failed(
            "the filter gave several results; wrap them in [ ] or take the first(…)",
        )),
        Some(Err(exception)) => Err(error_from_exception(exception)),
    }
}

fn error_from_exception(exception: jaq_core::Exn<'_, Val>) -> ExtractError {
    let Ok(error) = exception.get_err() else {
        return extract_failed("the filter ended by a jump out of itself");
    };
    let (text, is_complete) = format_error(&error, MAX_ERROR_BYTES);
    // A string is shown without quotes. A value is large if its text is incomplete.
    let text = match is_complete.then(|| error.into_val()) {
        Some(Val::TStr(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => text,
    };
    ExtractError::with_quote(Code::ExtractFailed, "the filter's error", text.as_bytes())
}

/// Returns `output` as JSON of at most `max_bytes`; an error if it contains no data.
fn write_checked(output: &Val, max_bytes: usize) -> Result<String, ExtractError> {
    match output {
        Val::Null => return Err(extract_failed("the filter gave null")),
        Val::Obj(members)
            if !members.is_empty() && members.values().all(|v| matches!(v, Val::Null)) =>
        {
            return Err(extract_failed("the filter gave an object of nulls only"));
        }
        _ => {}
    }
    write_json(output, max_bytes).map_err(|error| match error {
        JsonWriteError::TooLarge => {
            extract_failed(format!("the filter gave more than {max_bytes} bytes"))
        }
        JsonWriteError::TooDeep => {
            extract_failed(format!("the filter gave more than {MAX_DEPTH} levels"))
        }
        error => extract_failed(format!("the filter gave what JSON cannot hold: {error}")),
    })
}

fn error_from_abort(abort: EvaluationAbort) -> ExtractError {
    match abort {
        EvaluationAbort::Cancelled => {
            ExtractError::new(Code::ExtractTimeout, "the filter was stopped")
        }
        EvaluationAbort::Memory => extract_failed("the filter takes too much memory"),
        EvaluationAbort::Depth => extract_failed("the filter nests values without end"),
        EvaluationAbort::Stack => extract_failed("the filter recurses without end"),
    }
}

fn extract_failed(message: impl Into<String>) -> ExtractError {
    ExtractError::new(Code::ExtractFailed, message)
}
