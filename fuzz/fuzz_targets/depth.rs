//! Fuzz target: JSON depth limit. The check is in `checks/depth.rs`.

#![no_main]

#[path = "../checks/depth.rs"]
mod depth;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| depth::check(bytes));
