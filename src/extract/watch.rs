//! The watch over a running filter: nothing in jaq can be interrupted or bounded from outside, so [`super::rewrite`]
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

use super::threads::DEPTH;

/// The most bytes that one evaluation may pile up, beside [`PER_BYTE`] for each byte of its body: built strings, elements
/// and members, counted and never given back.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// What each byte of the body adds to it.
const PER_BYTE: usize = 64;
/// The most levels that a value may have inside of a filter. Jaq frees, compares and walks values by recursion.
const MAX_LEVELS: usize = 1000;
/// The most stack that an evaluation may take, in bytes: half of what there is, so that no single step needs the rest.
const MAX_STACK: usize = DEPTH / 2;
/// How many rounds of a loop pass between two looks at how deep its value is, and the most values looked at.
const ROUNDS: u32 = 256;
const MAX_LOOKS: usize = 1 << 12;

/// What an element of an array, and a member of an object with its name and its place in the table, take at least.
const ELEMENT: usize = size_of::<Val>();
pub(super) const MEMBER: usize = 4 * size_of::<Val>();

/// What a step of a path takes.
const STEP: usize = 64;

/// A request to stop, from whoever waits for an evaluation. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

/// Why an evaluation was given up half-way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halted {
    /// Nobody waits any more.
    Asked,
    /// More than it may pile up.
    Memory,
    /// More than [`MAX_LEVELS`].
    Levels,
    /// More than [`MAX_STACK`].
    Stack,
}

/// What one evaluation has used up.
#[derive(Debug)]
pub(super) struct Meter {
    stop: Stop,
    /// Where the stack was at its beginning.
    bottom: usize,
    max: usize,
    bytes: Cell<usize>,
    rounds: Cell<u32>,
}

/// What filters run over: values of jaq, and a meter that our functions reach.
pub(super) struct Watched;

/// What every function of a running filter can reach.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The compiled filter.
    pub(super) lut: &'a Lut<Watched>,
    /// The watch over it.
    pub(super) meter: &'a Meter,
}

impl DataT for Watched {
    type V<'a> = Val;
    type Data<'a> = Context<'a>;
}

impl<'a> HasLut<'a, Watched> for Context<'a> {
    fn lut(&self) -> &'a Lut<Watched> {
        self.lut
    }
}

impl Stop {
    /// Asks for the end.
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Meter {
    /// A fresh one, which looks at `stop` and allows `most` bytes beside those that a body of `body` bytes may take. The
    /// evaluation must be on this thread.
    pub(super) fn new(stop: &Stop, most: usize, body: usize) -> Self {
        let max = most.saturating_add(body.saturating_mul(PER_BYTE));
        Self {
            stop: stop.clone(),
            bottom: here(),
            max,
            bytes: Cell::new(0),
            rounds: Cell::new(0),
        }
    }

    /// A value on its way from one step to the next.
    pub(super) fn pass(&self, value: &Val) {
        self.look();
        self.charge(new_bytes(value));
    }

    /// A value that becomes an element of an array.
    pub(super) fn keep(&self, value: &Val) {
        self.look();
        self.charge(ELEMENT + new_bytes(value));
    }

    /// The value of a loop after a round.
    pub(super) fn round(&self, value: &Val) {
        self.look();
        if own_bytes(value) > self.max {
            halt(Halted::Memory);
        }
        if matches!(value, Val::Arr(_) | Val::Obj(_)) {
            self.rounds.set(self.rounds.get().wrapping_add(1));
            if self.rounds.get().is_multiple_of(ROUNDS) && is_deep(value) {
                halt(Halted::Levels);
            }
        }
    }

    /// The same of a value with its path, which may be a step longer.
    pub(super) fn step(&self, value: &Val) {
        self.round(value);
        self.charge(STEP);
    }

    /// Counts `bytes` before they are taken.
    pub(super) fn charge(&self, bytes: usize) {
        let used = self.bytes.get().saturating_add(bytes);
        if used > self.max {
            halt(Halted::Memory);
        }
        self.bytes.set(used);
    }

    /// What may still be taken, in bytes.
    pub(super) fn left(&self) -> usize {
        self.max - self.bytes.get()
    }

    /// Whether somebody still waits, and whether there is stack left: what jaq updates along an endless path (`repeat(.)
    /// |= .`) it does by recursion.
    pub(super) fn look(&self) {
        if self.stop.0.load(Ordering::Relaxed) {
            halt(Halted::Asked);
        }
        if self.bottom.abs_diff(here()) > MAX_STACK {
            halt(Halted::Stack);
        }
    }
}

/// Runs `work`, which may be halted. A panic that is none of ours goes on.
pub(super) fn watched<T>(work: impl FnOnce() -> T) -> Result<T, Halted> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|thrown| match thrown.downcast::<Halted>() {
        Ok(halted) => *halted,
        Err(panic) => resume_unwind(panic),
    })
}

fn halt(why: Halted) -> ! {
    // Unlike `panic!` it tells nobody: this is no bug.
    resume_unwind(Box::new(why))
}

/// An address on the stack of whoever asks.
fn here() -> usize {
    let mark = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&mark)).addr()
}

/// The bytes of `value` itself, not of what it holds.
pub(super) fn own_bytes(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len(),
        Val::Arr(items) => items.len() * ELEMENT,
        Val::Obj(members) => members.len() * MEMBER,
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
    }
}

/// The same, but nothing for an array or object that somebody else holds too: it has been counted.
pub(super) fn new_bytes(value: &Val) -> usize {
    match value {
        Val::Arr(items) if Arc::strong_count(items) > 1 => 0,
        Val::Obj(members) if Arc::strong_count(members) > 1 => 0,
        value => own_bytes(value),
    }
}

/// Whether `value` has more than [`MAX_LEVELS`], as far as a bounded search tells. It goes down first, so it finds a
/// long chain however wide the rest is.
fn is_deep(value: &Val) -> bool {
    let mut open = vec![(value, 0)];
    for _ in 0..MAX_LOOKS {
        let Some((value, level)) = open.pop() else {
            return false;
        };
        if level > MAX_LEVELS {
            return true;
        }
        match value {
            Val::Arr(items) => {
                open.extend(items.iter().take(MAX_LOOKS).map(|item| (item, level + 1)))
            }
            Val::Obj(members) => open.extend(
                members
                    .values()
                    .take(MAX_LOOKS)
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
    fn a_chain_is_found_in_the_width() {
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
    fn what_is_shared_is_counted_once() {
        let meter = Meter::new(&Stop::default(), MAX_BYTES, 0);
        let array: Val = std::iter::repeat_n(Val::Null, 1000).collect();
        meter.pass(&array);
        assert_eq!(meter.left(), MAX_BYTES - 1000 * ELEMENT);
        let _other = array.clone();
        meter.pass(&array);
        assert_eq!(meter.left(), MAX_BYTES - 1000 * ELEMENT);
    }

    #[test]
    fn halts_are_told_apart_from_panics() {
        let stop = Stop::default();
        let meter = Meter::new(&stop, MAX_BYTES, 1);
        assert_eq!(watched(|| meter.look()), Ok(()));
        assert_eq!(
            watched(|| meter.charge(MAX_BYTES + PER_BYTE + 1)),
            Err(Halted::Memory)
        );
        stop.ask();
        assert_eq!(watched(|| meter.look()), Err(Halted::Asked));
        let thrown = catch_unwind(|| watched(|| resume_unwind(Box::new("a bug")))).unwrap_err();
        assert_eq!(thrown.downcast_ref::<&str>(), Some(&"a bug"));
    }
}
