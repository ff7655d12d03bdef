//! Fuzz target: bodies of the format `text`. The check is in `checks/formats.rs`.

#![no_main]
#![allow(dead_code)]

#[path = "../checks/formats.rs"]
mod formats;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| formats::check_text(bytes));
