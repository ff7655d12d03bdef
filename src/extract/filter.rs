//! A filter: compiled once from its text, run over any number of payloads.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jaq_core::{Ctx, Vars};
use jaq_json::Val;

use super::compile::compile;
use super::complaint::Complaint;
use super::depth::MAX_DEPTH;
use super::natives::tell;
use super::reader::read;
use super::watch::{Context, Halted, MAX_BYTES, Meter, Stop, Watched, watched};
use super::writer::{Unwritable, write};
use crate::domain::Code;

/// The most bytes of JSON that a filter may give, unless it was given more.
const MAX_RESULT: usize = 1 << 20;
/// The most bytes of a filter's own error that are looked at.
const MAX_ERROR: usize = 4096;

/// A program as the library of filters runs it.
pub(super) type Program = jaq_core::Filter<Watched>;

/// A compiled jq filter. Cheap to clone.
#[derive(Clone)]
pub struct Filter {
    text: Arc<str>,
    /// None for `.`, which needs no program.
    program: Option<Arc<Program>>,
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
    pub const MAX_TEXT: usize = 64 << 10;

    /// Compiles `text` with the harmless native functions only. Takes about a millisecond.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        let program = if text.trim() == "." {
            None
        } else {
            Some(Arc::new(compile(text)?))
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
    pub(super) fn run(&self, json: &Bytes, stop: &Stop) -> Result<String, Complaint> {
        self.run_within(json, stop, MAX_BYTES)
    }

    /// The same with another limit of memory, in bytes.
    pub(super) fn run_within(
        &self,
        json: &Bytes,
        stop: &Stop,
        memory: usize,
    ) -> Result<String, Complaint> {
        let input = read(json);
        let limit = json.len().max(MAX_RESULT);
        let Some(program) = &self.program else {
            return checked(&input, limit);
        };
        let meter = Meter::new(stop, memory, json.len());
        let run = || evaluate(program, input, &meter).and_then(|output| checked(&output, limit));
        watched(run).unwrap_or_else(|halted| Err(given_up(halted)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

/// The one output of `program`; an error of a filter may repeat without end, so the first one is the last.
fn evaluate(program: &Program, input: Val, meter: &Meter) -> Result<Val, Complaint> {
    let context = Context {
        lut: &program.lut,
        meter,
    };
    let mut outputs = program
        .id
        .run((Ctx::<Watched>::new(context, Vars::new([])), input));
    let output = match outputs.next() {
        None => return Err(failed("the filter gave no result")),
        Some(output) => output.map_err(filter_error)?,
    };
    match outputs.next() {
        None => Ok(output),
        Some(Ok(_)) => Err(failed(
            "the filter gave several results; wrap them in [ ] or take the first(…)",
        )),
        Some(Err(thrown)) => Err(filter_error(thrown)),
    }
}

fn filter_error(thrown: jaq_core::Exn<'_, Val>) -> Complaint {
    let Ok(error) = thrown.get_err() else {
        return failed("the filter ended by a jump out of itself");
    };
    let (text, all) = tell(&error, MAX_ERROR);
    let text = match (all, all.then(|| error.into_val())) {
        (true, Some(Val::TStr(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => text,
    };
    Complaint::quoting(Code::ExtractFailed, "the filter's error", text.as_bytes())
}

/// `output` as JSON, if it is some and says something.
fn checked(output: &Val, limit: usize) -> Result<String, Complaint> {
    match output {
        Val::Null => return Err(failed("the filter gave null")),
        Val::Obj(members)
            if !members.is_empty() && members.values().all(|v| matches!(v, Val::Null)) =>
        {
            return Err(failed("the filter gave an object of nulls only"));
        }
        _ => {}
    }
    write(output, limit).map_err(|flaw| match flaw {
        Unwritable::TooLarge => failed(format!("the filter gave more than {limit} bytes")),
        Unwritable::TooDeep => failed(format!("the filter gave more than {MAX_DEPTH} levels")),
        flaw => failed(format!("the filter gave what JSON cannot hold: {flaw}")),
    })
}

fn given_up(halted: Halted) -> Complaint {
    match halted {
        Halted::Asked => Complaint::new(Code::ExtractTimeout, "the filter was stopped"),
        Halted::Memory => failed("the filter takes too much memory"),
        Halted::Levels => failed("the filter nests values without end"),
        Halted::Stack => failed("the filter recurses without end"),
    }
}

fn failed(what: impl Into<String>) -> Complaint {
    Complaint::new(Code::ExtractFailed, what)
}
