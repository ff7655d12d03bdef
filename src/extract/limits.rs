//! Limits of a running filter. jaq can neither be interrupted nor limited from outside, so
//! `instrument` inserts calls of the checks here between the steps of every filter. They test for
//! cancellation and count the allocated memory.
//!
//! A violation unwinds the stack up to [`catch_abort`]. It is no error of jq, because a filter
//! could catch that with `?`, `//` or `try` and go on.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jaq_core::data::HasLut;
use jaq_core::{DataT, Lut};
use jaq_json::Val;

use super::threads::STACK_BYTES;

/// Maximum memory of one evaluation, in bytes, plus [`EXTRA_BYTES_PER_BODY_BYTE`]. It counts all
/// strings, elements and members that are built; freed memory is not subtracted.
pub(crate) const MAX_EVALUATION_BYTES: usize = 64 << 20;
/// Additional bytes for each byte of the body.
const EXTRA_BYTES_PER_BODY_BYTE: usize = 64;
/// Maximum depth of a value within a filter. jaq frees, compares and traverses values by recursion.
const MAX_LEVELS: usize = 1000;
/// Maximum stack of an evaluation, in bytes: half of the stack, which leaves the other half for a
/// single step.
const MAX_STACK_BYTES: usize = STACK_BYTES / 2;
/// Number of loop rounds between two checks of the depth of the value.
const ROUNDS_PER_DEPTH_CHECK: u32 = 256;
/// Maximum number of values that a depth check visits.
const MAX_VISITED_VALUES: usize = 1 << 12;

/// Minimum size of an array element, in bytes.
const ELEMENT_BYTES: usize = size_of::<Val>();
/// Minimum size of an object member with its name and its table entry, in bytes.
pub(crate) const MEMBER_BYTES: usize = 4 * size_of::<Val>();

/// Size of a path step, in bytes.
const PATH_STEP_BYTES: usize = 64;

/// Cancellation flag of an evaluation. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CancelFlag(Arc<AtomicBool>);

/// Cause of the abort of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvaluationAbort {
    /// The evaluation was cancelled.
    Cancelled,
    /// The memory limit was exceeded.
    Memory,
    /// A value is deeper than [`MAX_LEVELS`].
    Depth,
    /// The stack is larger than [`MAX_STACK_BYTES`].
    Stack,
}

/// Limits of one evaluation, and the use so far.
#[derive(Debug)]
pub(crate) struct EvaluationLimits {
    cancel: CancelFlag,
    /// Address on the stack at the start of the evaluation.
    stack_start: usize,
    max_bytes: usize,
    used_bytes: Cell<usize>,
    rounds: Cell<u32>,
}

/// Data type of filters: values of jaq, and the limits for native functions.
pub(crate) struct LimitedData;

/// Context of the functions of a running filter.
#[derive(Clone, Copy)]
pub(crate) struct EvaluationContext<'a> {
    /// Lookup table of the compiled filter.
    pub(crate) lut: &'a Lut<LimitedData>,
    /// Limits of the evaluation.
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
    /// Cancels the evaluation.
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl EvaluationLimits {
    /// Returns the limits of an evaluation of a body of `body_bytes`, which must run on this
    /// thread.
    pub(crate) fn new(cancel: &CancelFlag, max_bytes: usize, body_bytes: usize) -> Self {
        let extra_bytes = body_bytes.saturating_mul(EXTRA_BYTES_PER_BODY_BYTE);
        Self {
            cancel: cancel.clone(),
            stack_start: stack_address(),
            max_bytes: max_bytes.saturating_add(extra_bytes),
            used_bytes: Cell::new(0),
            rounds: Cell::new(0),
        }
    }

    /// Checks a value that is passed from one step to the next.
    pub(crate) fn check_passed(&self, value: &Val) {
        self.check_limits();
        self.charge_bytes(unshared_bytes(value));
    }

    /// Checks a value that becomes an element of an array.
    pub(crate) fn check_element(&self, value: &Val) {
        self.check_limits();
        self.charge_bytes(ELEMENT_BYTES + unshared_bytes(value));
    }

    /// Checks the value of a loop after a round.
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

    /// Checks the value of a loop after a round that may have extended its path by a step.
    pub(crate) fn check_path_step(&self, value: &Val) {
        self.check_round(value);
        self.charge_bytes(PATH_STEP_BYTES);
    }

    /// Counts `bytes` before they are allocated.
    pub(crate) fn charge_bytes(&self, bytes: usize) {
        let used = self.used_bytes.get().saturating_add(bytes);
        if used > self.max_bytes {
            abort_evaluation(EvaluationAbort::Memory);
        }
        self.used_bytes.set(used);
    }

    /// Returns the number of bytes that may still be allocated.
    pub(crate) fn remaining_bytes(&self) -> usize {
        self.max_bytes - self.used_bytes.get()
    }

    /// Checks the cancellation and the stack: jaq recurses in an update along an endless path
    /// (`repeat(.) |= .`).
    pub(crate) fn check_limits(&self) {
        if self.cancel.0.load(Ordering::Relaxed) {
            abort_evaluation(EvaluationAbort::Cancelled);
        }
        if self.stack_start.abs_diff(stack_address()) > MAX_STACK_BYTES {
            abort_evaluation(EvaluationAbort::Stack);
        }
    }
}

/// Runs `work` and catches an abort of its evaluation. Other panics continue to unwind.
pub(crate) fn catch_abort<T>(work: impl FnOnce() -> T) -> Result<T, EvaluationAbort> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        match payload.downcast::<EvaluationAbort>() {
            Ok(abort) => *abort,
            Err(panic) => resume_unwind(panic),
        }
    })
}

fn abort_evaluation(cause: EvaluationAbort) -> ! {
    // Unlike `panic!`, this does not call the panic hook, which would log a bug.
    resume_unwind(Box::new(cause))
}

/// Returns an address on the current stack.
fn stack_address() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&local)).addr()
}

/// Returns the size of `value` without its elements, in bytes.
pub(crate) fn shallow_bytes(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len(),
        Val::Arr(items) => items.len() * ELEMENT_BYTES,
        Val::Obj(members) => members.len() * MEMBER_BYTES,
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
    }
}

/// Returns the size of `value` without its elements, in bytes; 0 for a shared array or object,
/// which was counted before.
pub(crate) fn unshared_bytes(value: &Val) -> usize {
    match value {
        Val::Arr(items) if Arc::strong_count(items) > 1 => 0,
        Val::Obj(members) if Arc::strong_count(members) > 1 => 0,
        value => shallow_bytes(value),
    }
}

/// Returns whether a bounded search finds a value deeper than [`MAX_LEVELS`]. The search is
/// depth-first, so it finds a long chain in a wide value.
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
        let limits = EvaluationLimits::new(&CancelFlag::default(), MAX_EVALUATION_BYTES, 0);
        let array: Val = std::iter::repeat_n(Val::Null, 1000).collect();
        limits.check_passed(&array);
        assert_eq!(
            limits.remaining_bytes(),
            MAX_EVALUATION_BYTES - 1000 * ELEMENT_BYTES
        );
        let _other = array.clone();
        limits.check_passed(&array);
        assert_eq!(
            limits.remaining_bytes(),
            MAX_EVALUATION_BYTES - 1000 * ELEMENT_BYTES
        );
    }

    #[test]
    fn aborts_differ_from_panics() {
        let cancel = CancelFlag::default();
        let limits = EvaluationLimits::new(&cancel, MAX_EVALUATION_BYTES, 1);
        assert_eq!(catch_abort(|| limits.check_limits()), Ok(()));
        assert_eq!(
            catch_abort(
                || limits.charge_bytes(MAX_EVALUATION_BYTES + EXTRA_BYTES_PER_BODY_BYTE + 1)
            ),
            Err(EvaluationAbort::Memory)
        );
        cancel.cancel();
        assert_eq!(
            catch_abort(|| limits.check_limits()),
            Err(EvaluationAbort::Cancelled)
        );
        let payload =
            catch_unwind(|| catch_abort(|| resume_unwind(Box::new("a bug")))).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a bug"));
    }
}
