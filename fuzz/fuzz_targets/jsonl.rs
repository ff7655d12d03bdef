//! Fuzz target: bodies of the format `jsonl`. The check is in `checks/formats.rs`.

#![no_main]
#![allow(dead_code)]

#[path = "../checks/formats.rs"]
mod formats;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| formats::check_jsonl(bytes));
