//! A filter: compiled once from its text, run over any number of payloads.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jaq_core::{Ctx, Vars};
use jaq_json::Val;

use super::builtins::format_error;
use super::compile::compile_program;
use super::depth::MAX_DEPTH;
use super::error::ExtractError;
use super::limits::{
    CancelFlag, EvaluationAbort, EvaluationContext, EvaluationLimits, LimitedData,
    MAX_EVALUATION_BYTES, catch_abort,
};
use super::reader::read_json;
use super::writer::{JsonWriteError, write_json};
use crate::domain::Code;

/// The most bytes of JSON that a filter may give, unless it was given more.
const MAX_RESULT_BYTES: usize = 1 << 20;
/// The most bytes of a filter's own error that are looked at.
const MAX_ERROR_BYTES: usize = 4096;

/// A program as the library of filters runs it.
pub(super) type FilterProgram = jaq_core::Filter<LimitedData>;

/// A compiled jq filter. Cheap to clone.
#[derive(Clone)]
pub struct Filter {
    text: Arc<str>,
    /// None for `.`, which needs no program.
    program: Option<Arc<FilterProgram>>,
}

/// Why a filter's text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Where, in bytes of the text; may be empty, at its end.
    pub span: std::ops::Range<usize>,
}

impl Filter {
    /// The most bytes that a filter's text may have.
    pub const MAX_TEXT_BYTES: usize = 64 << 10;

    /// Compiles `text` with the harmless native functions only. Takes about a millisecond.
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

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is `.`, which runs nothing.
    pub(super) fn is_identity(&self) -> bool {
        self.program.is_none()
    }

    /// Runs over `json`, which has been checked, until `stop`. Must not be called on a small stack unless it is `.`.
    pub(super) fn run(&self, json: &Bytes, stop: &CancelFlag) -> Result<String, ExtractError> {
        self.run_with_memory_limit(json, stop, MAX_EVALUATION_BYTES)
    }

    /// The same with another limit of memory, in bytes.
    pub(super) fn run_with_memory_limit(
        &self,
        json: &Bytes,
        stop: &CancelFlag,
        memory: usize,
    ) -> Result<String, ExtractError> {
        let input = read_json(json);
        let limit = json.len().max(MAX_RESULT_BYTES);
        let Some(program) = &self.program else {
            return write_checked(&input, limit);
        };
        let meter = EvaluationLimits::new(stop, memory, json.len());
        let run = || {
            evaluate_program(program, input, &meter)
                .and_then(|output| write_checked(&output, limit))
        };
        catch_abort(run).unwrap_or_else(|halted| Err(error_from_abort(halted)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

/// The one output of `program`; an error of a filter may repeat without end, so the first one is the last.
fn evaluate_program(
    program: &FilterProgram,
    input: Val,
    meter: &EvaluationLimits,
) -> Result<Val, ExtractError> {
    let context = EvaluationContext {
        lut: &program.lut,
        limits: meter,
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
        Some(Err(thrown)) => Err(error_from_exception(thrown)),
    }
}

fn error_from_exception(thrown: jaq_core::Exn<'_, Val>) -> ExtractError {
    let Ok(error) = thrown.get_err() else {
        return extract_failed("the filter ended by a jump out of itself");
    };
    let (text, all) = format_error(&error, MAX_ERROR_BYTES);
    let text = match (all, all.then(|| error.into_val())) {
        (true, Some(Val::TStr(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => text,
    };
    ExtractError::with_quote(Code::ExtractFailed, "the filter's error", text.as_bytes())
}

/// `output` as JSON, if it is some and says something.
fn write_checked(output: &Val, limit: usize) -> Result<String, ExtractError> {
    match output {
        Val::Null => return Err(extract_failed("the filter gave null")),
        Val::Obj(members)
            if !members.is_empty() && members.values().all(|v| matches!(v, Val::Null)) =>
        {
            return Err(extract_failed("the filter gave an object of nulls only"));
        }
        _ => {}
    }
    write_json(output, limit).map_err(|flaw| match flaw {
        JsonWriteError::TooLarge => {
            extract_failed(format!("the filter gave more than {limit} bytes"))
        }
        JsonWriteError::TooDeep => {
            extract_failed(format!("the filter gave more than {MAX_DEPTH} levels"))
        }
        flaw => extract_failed(format!("the filter gave what JSON cannot hold: {flaw}")),
    })
}

fn error_from_abort(halted: EvaluationAbort) -> ExtractError {
    match halted {
        EvaluationAbort::Cancelled => {
            ExtractError::new(Code::ExtractTimeout, "the filter was stopped")
        }
        EvaluationAbort::Memory => extract_failed("the filter takes too much memory"),
        EvaluationAbort::Depth => extract_failed("the filter nests values without end"),
        EvaluationAbort::Stack => extract_failed("the filter recurses without end"),
    }
}

fn extract_failed(what: impl Into<String>) -> ExtractError {
    ExtractError::new(Code::ExtractFailed, what)
}
