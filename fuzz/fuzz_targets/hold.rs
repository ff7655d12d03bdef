//! `Retry-After`; see `checks/hold.rs`.

#![no_main]

#[path = "../checks/hold.rs"]
mod hold;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hold::check(bytes));
