//! Fuzz target: JSON body. The check is in `checks/body.rs`.

#![no_main]

#[path = "../checks/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::check(bytes));
