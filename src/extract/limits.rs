//! The watch over a running filter: nothing in jaq can be interrupted or bounded from outside, so [`crate::extract::instrument`]
//! puts calls of the functions here between the steps of every filter. They look whether somebody waits for the end,
//! and count what is piled up in memory.
//!
//! What is found wrong unwinds the stack up to [`watched`] instead of being an error of jq: `?`, `//` and `try` catch
//! errors, and a filter could go on for ever with every one of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jaq_core::data::HasLut;
use jaq_core::{DataT, Lut};
use jaq_json::Val;

use super::threads::STACK_BYTES;

/// The most bytes that one evaluation may pile up, beside [`PER_BYTE`] for each byte of its body: built strings, elements
/// and members, counted and never given back.
pub(crate) const MAX_EVALUATION_BYTES: usize = 64 << 20;
/// What each byte of the body adds to it.
const EXTRA_BYTES_PER_BODY_BYTE: usize = 64;
/// The most levels that a value may have inside of a filter. Jaq frees, compares and walks values by recursion.
const MAX_LEVELS: usize = 1000;
/// The most stack that an evaluation may take, in bytes: half of what there is, so that no single step needs the rest.
const MAX_STACK_BYTES: usize = STACK_BYTES / 2;
/// How many rounds of a loop pass between two looks at how deep its value is, and the most values looked at.
const ROUNDS_PER_DEPTH_CHECK: u32 = 256;
const MAX_VISITED_VALUES: usize = 1 << 12;

/// What an element of an array, and a member of an object with its name and its place in the table, take at least.
const ELEMENT_BYTES: usize = size_of::<Val>();
pub(crate) const MEMBER_BYTES: usize = 4 * size_of::<Val>();

/// What a step of a path takes.
const PATH_STEP_BYTES: usize = 64;

/// A request to stop, from whoever waits for an evaluation. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct CancelFlag(Arc<AtomicBool>);

/// Why an evaluation was given up half-way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvaluationAbort {
    /// Nobody waits any more.
    Cancelled,
    /// More than it may pile up.
    Memory,
    /// More than [`MAX_LEVELS`].
    Depth,
    /// More than [`MAX_STACK`].
    Stack,
}

/// What one evaluation has used up.
#[derive(Debug)]
pub(crate) struct EvaluationLimits {
    cancel: CancelFlag,
    /// Where the stack was at its beginning.
    stack_start: usize,
    max_bytes: usize,
    used_bytes: Cell<usize>,
    rounds: Cell<u32>,
}

/// What filters run over: values of jaq, and a meter that our functions reach.
pub(crate) struct LimitedData;

/// What every function of a running filter can reach.
#[derive(Clone, Copy)]
pub(crate) struct EvaluationContext<'a> {
    /// The compiled filter.
    pub(crate) lut: &'a Lut<LimitedData>,
    /// The watch over it.
    pub(crate) limits: &'a EvaluationLimits,
}

impl DataT for LimitedData {
    type V<'a> = Val;
    type Data<'a> = EvaluationContext<'a>;
}

impl<'a> HasLut<'a, LimitedData> for EvaluationContext<'a> {
    fn lut(&self) -> &'a Lut<LimitedData> {
        self.lut
    }
}

impl CancelFlag {
    /// Asks for the end.
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl EvaluationLimits {
    /// A fresh one, which looks at `stop` and allows `most` bytes beside those that a body of `body` bytes may take. The
    /// evaluation must be on this thread.
    pub(crate) fn new(stop: &CancelFlag, most: usize, body: usize) -> Self {
        let max = most.saturating_add(body.saturating_mul(EXTRA_BYTES_PER_BODY_BYTE));
        Self {
            cancel: stop.clone(),
            stack_start: stack_address(),
            max_bytes: max,
            used_bytes: Cell::new(0),
            rounds: Cell::new(0),
        }
    }

    /// A value on its way from one step to the next.
    pub(crate) fn check_passed(&self, value: &Val) {
        self.check_limits();
        self.charge_bytes(unshared_bytes(value));
    }

    /// A value that becomes an element of an array.
    pub(crate) fn check_element(&self, value: &Val) {
        self.check_limits();
        self.charge_bytes(ELEMENT_BYTES + unshared_bytes(value));
    }

    /// The value of a loop after a round.
    pub(crate) fn check_round(&self, value: &Val) {
        self.check_limits();
        if shallow_bytes(value) > self.max_bytes {
            abort_evaluation(EvaluationAbort::Memory);
        }
        if matches!(value, Val::Arr(_) | Val::Obj(_)) {
            self.rounds.set(self.rounds.get().wrapping_add(1));
            if self.rounds.get().is_multiple_of(ROUNDS_PER_DEPTH_CHECK) && is_deep(value) {
                abort_evaluation(EvaluationAbort::Depth);
            }
        }
    }

    /// The same of a value with its path, which may be a step longer.
    pub(crate) fn check_path_step(&self, value: &Val) {
        self.check_round(value);
        self.charge_bytes(PATH_STEP_BYTES);
    }

    /// Counts `bytes` before they are taken.
    pub(crate) fn charge_bytes(&self, bytes: usize) {
        let used = self.used_bytes.get().saturating_add(bytes);
        if used > self.max_bytes {
            abort_evaluation(EvaluationAbort::Memory);
        }
        self.used_bytes.set(used);
    }

    /// What may still be taken, in bytes.
    pub(crate) fn remaining_bytes(&self) -> usize {
        self.max_bytes - self.used_bytes.get()
    }

    /// Whether somebody still waits, and whether there is stack left: what jaq updates along an endless path (`repeat(.)
    /// |= .`) it does by recursion.
    pub(crate) fn check_limits(&self) {
        if self.cancel.0.load(Ordering::Relaxed) {
            abort_evaluation(EvaluationAbort::Cancelled);
        }
        if self.stack_start.abs_diff(stack_address()) > MAX_STACK_BYTES {
            abort_evaluation(EvaluationAbort::Stack);
        }
    }
}

/// Runs `work`, which may be halted. A panic that is none of ours goes on.
pub(crate) fn catch_abort<T>(work: impl FnOnce() -> T) -> Result<T, EvaluationAbort> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|thrown| {
        match thrown.downcast::<EvaluationAbort>() {
            Ok(halted) => *halted,
            Err(panic) => resume_unwind(panic),
        }
    })
}

fn abort_evaluation(why: EvaluationAbort) -> ! {
    // Unlike `panic!` it tells nobody: this is no bug.
    resume_unwind(Box::new(why))
}

/// An address on the stack of whoever asks.
fn stack_address() -> usize {
    let mark = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&mark)).addr()
}

/// The bytes of `value` itself, not of what it holds.
pub(crate) fn shallow_bytes(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len(),
        Val::Arr(items) => items.len() * ELEMENT_BYTES,
        Val::Obj(members) => members.len() * MEMBER_BYTES,
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
    }
}

/// The same, but nothing for an array or object that somebody else holds too: it has been counted.
pub(crate) fn unshared_bytes(value: &Val) -> usize {
    match value {
        Val::Arr(items) if Arc::strong_count(items) > 1 => 0,
        Val::Obj(members) if Arc::strong_count(members) > 1 => 0,
        value => shallow_bytes(value),
    }
}

/// Whether `value` has more than [`MAX_LEVELS`], as far as a bounded search tells. It goes down first, so it finds a
/// long chain however wide the rest is.
fn is_deep(value: &Val) -> bool {
    let mut open = vec![(value, 0)];
    for _ in 0..MAX_VISITED_VALUES {
        let Some((value, level)) = open.pop() else {
            return false;
        };
        if level > MAX_LEVELS {
            return true;
        }
        match value {
            Val::Arr(items) => open.extend(
                items
                    .iter()
                    .take(MAX_VISITED_VALUES)
                    .map(|item| (item, level + 1)),
            ),
            Val::Obj(members) => open.extend(
                members
                    .values()
                    .take(MAX_VISITED_VALUES)
                    .map(|member| (member, level + 1)),
            ),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Val {
        (0..levels).fold(Val::Null, |inner, _| [inner].into_iter().collect())
    }

    #[test]
    fn deep_chain_is_found() {
        assert!(!is_deep(&nested(MAX_LEVELS)));
        assert!(is_deep(&nested(MAX_LEVELS + 1)));
        let wide = std::iter::repeat_n(Val::Null, 2000).chain([nested(MAX_LEVELS + 1)]);
        assert!(is_deep(&wide.collect()));
        let doubled = (0..40).fold(Val::Null, |inner, _| {
            [inner.clone(), inner].into_iter().collect()
        });
        assert!(!is_deep(&doubled));
    }

    #[test]
    fn shared_value_is_counted_once() {
        let meter = EvaluationLimits::new(&CancelFlag::default(), MAX_EVALUATION_BYTES, 0);
        let array: Val = std::iter::repeat_n(Val::Null, 1000).collect();
        meter.check_passed(&array);
        assert_eq!(
            meter.remaining_bytes(),
            MAX_EVALUATION_BYTES - 1000 * ELEMENT_BYTES
        );
        let _other = array.clone();
        meter.check_passed(&array);
        assert_eq!(
            meter.remaining_bytes(),
            MAX_EVALUATION_BYTES - 1000 * ELEMENT_BYTES
        );
    }

    #[test]
    fn aborts_differ_from_panics() {
        let stop = CancelFlag::default();
        let meter = EvaluationLimits::new(&stop, MAX_EVALUATION_BYTES, 1);
        assert_eq!(catch_abort(|| meter.check_limits()), Ok(()));
        assert_eq!(
            catch_abort(|| meter.charge_bytes(MAX_EVALUATION_BYTES + EXTRA_BYTES_PER_BODY_BYTE + 1)),
            Err(EvaluationAbort::Memory)
        );
        stop.cancel();
        assert_eq!(
            catch_abort(|| meter.check_limits()),
            Err(EvaluationAbort::Cancelled)
        );
        let thrown = catch_unwind(|| catch_abort(|| resume_unwind(Box::new("a bug")))).unwrap_err();
        assert_eq!(thrown.downcast_ref::<&str>(), Some(&"a bug"));
    }
}
