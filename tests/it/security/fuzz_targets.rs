//! Short runs of the fuzz targets: every file of their corpora, and mutations of them. `RESUMEN_FUZZ_SEED` repeats one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;

#[path = "../../../fuzz/checks/body.rs"]
mod body;
#[path = "../../../fuzz/checks/depth.rs"]
mod depth;
#[path = "../../../fuzz/checks/redactor.rs"]
mod redactor;
#[path = "../../../fuzz/checks/retry_after.rs"]
mod retry_after;

/// Mutations of each run.
const MUTATION_ROUNDS: usize = 5_000;

/// What is put into texts: the words of the languages that are read.
const MUTATION_WORDS: &[&str] = &[
    "[", "]", "{", "}", "\"", "\\", "\n", ":", ",", "0", "9", "-", ".", "e", "null", "true", "GMT",
    "Sun, ", " 1994 ", "%2F", "&amp;", "\\u0000", "\\ud800", "\u{feff}", "ñ", "abcdefgh", "*", " ",
];

fn run_fuzz_target(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let corpus: Vec<Vec<u8>> = files.map(|file| std::fs::read(file).unwrap()).collect();
    assert!(corpus.len() >= 7, "a corpus of {}", corpus.len());
    for bytes in &corpus {
        check(bytes);
    }
    let seed = std::env::var_os("RESUMEN_FUZZ_SEED")
        .and_then(|seed| seed.into_string().ok()?.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut dice = Rng::with_seed(seed);
    for _ in 0..MUTATION_ROUNDS {
        let bytes = mutate_input(&corpus, &mut dice);
        let checked = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
        assert!(
            checked.is_ok(),
            "RESUMEN_FUZZ_SEED={seed}: {target} fails on {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

/// One of the corpus, with a few bytes and words changed, put in, cut out, repeated, or joined to another's.
fn mutate_input(corpus: &[Vec<u8>], dice: &mut Rng) -> Vec<u8> {
    let mut bytes = corpus[dice.usize(..corpus.len())].clone();
    for _ in 0..dice.usize(1..6) {
        let at = dice.usize(..=bytes.len());
        let end = at + dice.usize(..=(bytes.len() - at).min(12));
        match dice.u8(..5) {
            0 => drop(bytes.splice(
                at..at,
                MUTATION_WORDS[dice.usize(..MUTATION_WORDS.len())].bytes(),
            )),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(
                at..end,
                (0..end - at).map(|_| dice.u8(..)).collect::<Vec<_>>(),
            )),
            3 => bytes.extend_from_within(at..end),
            _ => bytes.extend_from_slice(&corpus[dice.usize(..corpus.len())]),
        }
        bytes.truncate(4096);
    }
    bytes
}

#[test]
fn fuzz_depth_limit() {
    run_fuzz_target("depth", depth::check);
}

#[test]
fn fuzz_body_roundtrip() {
    run_fuzz_target("body", body::check);
}

#[test]
fn fuzz_retry_after() {
    run_fuzz_target("retry_after", retry_after::check);
}

#[test]
fn fuzz_redactor() {
    run_fuzz_target("redactor", redactor::check);
}
