//! Short runs of the fuzz targets on their corpora and on mutations. `RESUMEN_FUZZ_SEED` repeats a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;

#[path = "../../../fuzz/checks/body.rs"]
mod body;
#[path = "../../../fuzz/checks/depth.rs"]
mod depth;
#[path = "../../../fuzz/checks/formats.rs"]
mod formats;
#[path = "../../../fuzz/checks/redactor.rs"]
mod redactor;
#[path = "../../../fuzz/checks/retry_after.rs"]
mod retry_after;

/// Number of mutations in a run.
const MUTATION_ROUNDS: usize = 5_000;

/// Words of the parsed formats, which mutations insert.
const MUTATION_WORDS: &[&str] = &[
    "<a>",
    "</a>",
    "<!--",
    "<![CDATA[",
    "&#x41;",
    "=\"",
    "'",
    ";",
    "\r\n",
    "#",
    "<p>",
    "NaN",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\",
    "\n",
    ":",
    ",",
    "0",
    "9",
    "-",
    ".",
    "e",
    "null",
    "true",
    "GMT",
    "Sun, ",
    " 1994 ",
    "%2F",
    "&amp;",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "ñ",
    "abcdefgh",
    "*",
    " ",
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
    let mut rng = Rng::with_seed(seed);
    for _ in 0..MUTATION_ROUNDS {
        let bytes = mutate_input(&corpus, &mut rng);
        let checked = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
        assert!(
            checked.is_ok(),
            "RESUMEN_FUZZ_SEED={seed}: {target} fails on {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

/// A file of the corpus with some bytes or words inserted, removed, replaced, repeated or appended.
fn mutate_input(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = at + rng.usize(..=(bytes.len() - at).min(12));
        match rng.u8(..5) {
            0 => drop(bytes.splice(
                at..at,
                MUTATION_WORDS[rng.usize(..MUTATION_WORDS.len())].bytes(),
            )),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(
                at..end,
                (0..end - at).map(|_| rng.u8(..)).collect::<Vec<_>>(),
            )),
            3 => bytes.extend_from_within(at..end),
            _ => bytes.extend_from_slice(&corpus[rng.usize(..corpus.len())]),
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

#[test]
fn fuzz_formats() {
    run_fuzz_target("jsonl", formats::check_jsonl);
    run_fuzz_target("text", formats::check_text);
    run_fuzz_target("csv", formats::check_csv);
    run_fuzz_target("xml", formats::check_xml);
    run_fuzz_target("html", formats::check_html);
    run_fuzz_target("prometheus", formats::check_prometheus);
}
