//! Extraction: from the bytes of a response body to JSON, through a jq filter, to the data of a
//! source, within limits of time, memory and depth. No I/O.
//!
//! Steps of an extraction:
//! 1. `json` checks the body: UTF-8, at most [`MAX_DEPTH`] levels, JSON by RFC 8259.
//! 2. `reader` parses it; numbers keep their digits.
//! 3. `filter` runs the jq program under the `limits`.
//! 4. `writer` writes the result, if JSON can represent it.
//!
//! jaq, the jq implementation, trusts its filters: they can read the environment, exit the process,
//! run forever, and exhaust memory or stack. Three modules prevent that: `library` omits the
//! functions with access to the outside, `instrument` inserts a check of the limits between all
//! steps of a filter, and `extractor` runs each evaluation on a thread with a deep stack, under a
//! deadline, one at a time per source.
//!
//! Limits: the deadline, as far as each single step of jaq ends; 64 MiB plus 64 times the body for
//! everything that an evaluation allocates in total; the depth of values.

mod budget;
mod builtins;
mod compile;
mod dependencies;
mod depth;
mod error;
mod evaluation_slot;
mod extractor;
mod filter;
mod filter_cache;
mod instrument;
mod json;
mod library;
mod limits;
mod reader;
mod regex_functions;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

pub use compile::FilterError;
pub use depth::{MAX_DEPTH, find_excess_depth};
pub use extractor::Extractor;
pub use filter::Filter;
pub use filter_cache::FilterCache;
