//! Fuzz target: `Retry-After` parser. The check is in `checks/retry_after.rs`.

#![no_main]

#[path = "../checks/retry_after.rs"]
mod retry_after;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retry_after::check(bytes));
