//! Cost of an evaluation in a filter worker beside one in this process, for bodies of 1 KB to 1 MB.
//!
//! `cargo bench --bench filters`
//!
//! In this process jaq reads, evaluates and writes, with a program that was compiled once. A worker does the same behind
//! a socket; the service checks the body before and the result after it.
#![allow(clippy::unwrap_used, reason = "a benchmark panics on errors")]

use std::time::Duration;

use bytes::Bytes;
use divan::{Bencher, black_box};
use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars};
use jaq_json::Val;
use resumen::domain::{Name, Redactor};
use resumen::extract::{Extractor, FilterCache};
use resumen::process::Clock;

const FILTER: &str = "{n: length, sum: (map(.a) | add)}";

/// Sizes of the body, in elements of about 25 bytes.
const ELEMENTS: &[usize] = &[40, 2_500, 40_000];

fn main() {
    divan::main();
}

fn body(elements: usize) -> Bytes {
    let element = |number: usize| format!("{{\"a\":{number},\"b\":\"text\"}}");
    let list: Vec<String> = (0..elements).map(element).collect();
    format!("[{}]", list.join(",")).into()
}

#[divan::bench(args = ELEMENTS)]
fn in_this_process(bencher: Bencher<'_, '_>, elements: usize) {
    let defs = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let funs = jaq_core::funs::<JustLut<Val>>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    let (arena, code) = (Arena::default(), FILTER);
    let modules = Loader::new(defs).load(&arena, File { code, path: () });
    let program = Compiler::default()
        .with_funs(funs)
        .compile(modules.unwrap())
        .unwrap();
    let body = body(elements);
    bencher.bench_local(|| {
        let input = jaq_json::read::parse_single(&body).unwrap();
        let context = Ctx::<JustLut<Val>>::new(&program.lut, Vars::new([]));
        let output = program.id.run((context, input)).next().unwrap();
        output.map_err(|_| "an error").unwrap().to_string()
    });
}

#[divan::bench(args = ELEMENTS)]
fn in_a_worker(bencher: Bencher<'_, '_>, elements: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (clock, name) = (Clock::start(), Name::new("a").unwrap());
    let extractor = Extractor::new(env!("CARGO_BIN_EXE_resumen").into(), Redactor::default());
    extractor.set_filters(FilterCache::default());
    let filter = extractor.compile_filter(FILTER).unwrap();
    let body = body(elements);
    bencher.bench_local(|| {
        let deadline = clock.deadline(Duration::from_secs(10));
        let data = extractor.extract(&name, &filter, body.clone(), deadline);
        black_box(runtime.block_on(data).unwrap())
    });
}
