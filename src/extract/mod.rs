//! Floor 1: bytes → JSON → jq → data, within depth and size limits.
//!
//! Imports `domain` and `clock`. Does no I/O.
//!
//! A body passes, in this order: `json` (UTF-8, [`MAX_DEPTH`] levels, RFC 8259, nothing else), `reader` (numbers keep
//! their digits), the filter under `watch`, and `writer`, which writes nothing that is not JSON. The filter is jq
//! by jaq, which trusts its filters: it can call the environment, end the process, never end, exhaust memory and the
//! stack. `library` leaves out what reaches outside, `rewrite` puts the watch between all steps, `extractor` gives each
//! evaluation a thread with a deep stack, a deadline and the only turn of its source, `room` a share of what all may take.
//!
//! Bounded are: time, by the deadline, as far as a single step of jaq ends; memory, by what an evaluation piles up in
//! all (64 MiB and 64 times the body), as far as a single step takes no more than a small multiple of its operands; levels of nesting.

mod budget;
mod builtins;
mod compile;
mod dependencies;
mod depth;
mod error;
mod extractor;
mod filter;
mod filters;
mod instrument;
mod json;
mod library;
mod limits;
mod reader;
mod regexes;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

pub use depth::{MAX_DEPTH, find_excess_depth};
pub use extractor::Extractor;
pub use filter::{Filter, FilterError};
pub use filters::FilterCache;
