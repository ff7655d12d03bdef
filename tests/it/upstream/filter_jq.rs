//! Filters compared with a real jq: `tests/corpus/jq/filters.jsonl` has filters, inputs and the results of jq. If the
//! result here differs, the line has it, with the row of the table in `docs/filters.md` that explains the difference.
//!
//! The package `jq` of `PyPI`, in `target/jq`, verifies the corpus. If it is missing, that test is skipped and prints a
//! line; `RESUMEN_REQUIRE_ALL=1` makes it a failure.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use resumen::extract::{Extractor, Filter};
use resumen::process::Clock;
use serde::Deserialize;
use serde_json::Value;

use crate::support::scripted_fetch::{test_extractor, test_name};

#[derive(Deserialize)]
struct Case {
    filter: String,
    /// The JSON text.
    input: String,
    /// The outputs of jq, or `"error"`.
    jq: Value,
    /// The outputs here, if they differ.
    ours: Option<Value>,
    /// The row of the table that explains the difference.
    why: Option<String>,
}

fn corpus_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/jq")
        .join(name)
}

fn read_cases() -> Vec<Case> {
    let text = std::fs::read_to_string(corpus_file("filters.jsonl")).unwrap();
    let cases = text.lines().map(serde_json::from_str);
    cases.collect::<Result<Vec<Case>, _>>().unwrap()
}

/// The outputs of the filter, or `"error"`. They are passed as a text, which can hold NaN and `null`.
async fn own_result(extractor: &Extractor, case: &Case) -> Value {
    let error = Value::from("error");
    let Ok(filter) = Filter::compile(&format!("[{}\n] | tojson", case.filter)) else {
        return error;
    };
    let body = Bytes::copy_from_slice(case.input.as_bytes());
    let deadline = Clock::start().deadline(Duration::from_secs(60));
    let result = extractor
        .extract(&test_name("a"), &filter, body, deadline)
        .await;
    let Ok(data) = result else { return error };
    let text: String = serde_json::from_str(data.as_json()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Compares numbers as doubles, and those that were calculated within what the libraries of mathematics differ in.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            // Whole numbers are compared digit by digit.
            if left.is_i64() && right.is_i64() {
                return left == right;
            }
            let double = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::MAX);
            let (left, right) = (double(left), double(right));
            #[allow(clippy::float_cmp, reason = "equal or near")]
            let is_equal = left == right;
            is_equal || (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let has = |(name, left): (&String, _)| {
                right.get(name).is_some_and(|right| is_same(left, right))
            };
            left.len() == right.len() && left.iter().all(has)
        }
        (left, right) => left == right,
    }
}

#[tokio::test]
async fn filters_give_what_jq_gives() {
    let extractor = test_extractor();
    let table =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/filters.md"));
    let table = table.unwrap();
    let mut wrong = Vec::new();
    for case in read_cases() {
        let result = own_result(&extractor, &case).await;
        let expected = case.ours.as_ref().unwrap_or(&case.jq);
        if !is_same(&result, expected) {
            wrong.push(format!(
                "{} over {}: {result}, not {expected}",
                case.filter, case.input
            ));
        }
        let row = case.why.map(|why| format!("\n| {why} |"));
        if row.is_some_and(|row| !table.contains(&row))
            || (case.ours.is_some_and(|ours| is_same(&ours, &case.jq)))
        {
            wrong.push(format!(
                "{}: its difference is not in docs/filters.md",
                case.filter
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn corpus_agrees_with_real_jq() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/jq/bin/python");
    if !python.exists() {
        let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
        let missing = "jq is missing (`pip install jq`, into target/jq)";
        assert!(!required, "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let mut jq = Command::new(python)
        .arg(corpus_file("run.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let cases = read_cases();
    let mut input = jq.stdin.take().unwrap();
    let lines: Vec<String> = cases
        .iter()
        .map(|case| serde_json::json!([case.filter, case.input]).to_string() + "\n")
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.concat().as_bytes()));
    let output = jq.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let results: Vec<&str> = output.lines().collect();
    assert_eq!(results.len(), cases.len());
    for (case, result) in cases.iter().zip(results) {
        let result: Value = serde_json::from_str(result).unwrap();
        assert!(
            is_same(&result, &case.jq),
            "{} over {}: {result}",
            case.filter,
            case.input
        );
    }
}
