//! Extraction: body → JSON → jq filter → data, in worker processes with limits.
//!
//! A JSON body passes, in this order: the strict check (UTF-8, [`MAX_DEPTH`] levels, RFC 8259), a reader that keeps every
//! digit of a number, the filter (jq by jaq), and a writer that writes nothing but JSON. Bodies of other formats are
//! converted in place of check and reader. A filter may never end,
//! exhaust memory and overflow the stack, and jaq can neither be interrupted nor bounded: so filters run in processes
//! ([`run_worker`]) whose limits the kernel keeps.

mod body_kind;
mod compile;
mod constant_regexes;
mod dependencies;
mod error;
mod evaluate;
mod extractor;
mod filter;
mod filter_error;
mod filters;
mod formats;
mod hints;
mod json;
mod library;
mod metric_programs;
mod metric_results;
mod natives;
mod raw_body;
mod reader;
mod regexes;
mod substitute;
mod term_visitor;
#[cfg(test)]
mod tests;
mod update;
mod worker;
mod worker_memory;
mod worker_pool;
mod worker_process;
mod worker_protocol;
mod worker_queue;
mod writer;

pub use crate::text::{MAX_DEPTH, find_excess_depth};
pub use compile::constructed_names;
pub use extractor::{Extractor, own_program};
pub use filter::Filter;
pub use filter_error::FilterError;
pub use filters::FilterCache;
pub use formats::check_selector;
pub use metric_programs::MetricPrograms;
pub use raw_body::RawBody;
pub use worker::{WORKER_COMMAND, run_worker};
