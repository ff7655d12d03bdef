//! The fast path for GETs of the snapshot and of single values: matches the request in the read buffer and writes a cached,
//! fully serialised response. Any other request hands the connection to hyper for the rest of its
//! life.
//!
//! The responses come from `response`, like those of the router; only the serialisation differs.

mod parse;
mod response_cache;
mod serve;

pub(super) use serve::FastPath;
