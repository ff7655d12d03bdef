//! The mask; see `checks/mask.rs`.

#![no_main]

#[path = "../checks/mask.rs"]
mod mask;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mask::check(bytes));
