//! Fuzz target: Redaction of secrets. The check is in `checks/redactor.rs`.

#![no_main]

#[path = "../checks/redactor.rs"]
mod redactor;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| redactor::check(bytes));
