//! Numbers that readers of JSON cannot read: no provider may bring one into an answer.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::fake_provider::FakeProvider;
use crate::support::requirements::require_program;
use crate::support::test_app::{TestApp, source_tables};

/// Reads the answer as Python's clients do, and prints the sources with data.
const READER: &str = "import json, sys\n\
    answer = json.load(sys.stdin)\n\
    print(' '.join(k for k, v in answer['resultados'].items() if v['ok']))";

#[test]
fn python_reads_every_answer() {
    if !require_program("python3") {
        return;
    }
    let (most, more) = ("7".repeat(4000), "7".repeat(4001));
    let bodies = [
        ("most", format!("[-{most}]")),
        ("more", more.clone()),
        ("nested", format!("{{\"a\":[{{\"b\":-{more}}}]}}")),
        ("fraction", format!("[0.{more}]")),
        ("exponent", "[1e999999,-1e999999,1e-999999]".to_owned()),
        ("digits", format!("[1e{more}]")),
        ("text", format!("[\"{more}\"]")),
    ];
    let providers: Vec<_> = bodies
        .iter()
        .map(|(_, body)| FakeProvider::with_json(body))
        .collect();
    let one = FakeProvider::with_json("1");
    let mut sources = vec![("one", one.url())];
    let urls = providers.iter().map(FakeProvider::url);
    sources.extend(bodies.iter().map(|(name, _)| *name).zip(urls));
    // The same by arithmetic: in a filter of a derived source.
    let config = source_tables(&sources)
        + "[derived.product]\nfrom = [\"most\"]\nextract = '.most[0] * 1000000000000'\n\
           [derived.passed]\nfrom = [\"most\"]\nextract = '.most'\n";
    let app = TestApp::start(&config);
    let is_done = |answer: &Value| answer["resultados"]["passed"]["ok"] == true;
    app.wait_for_json("/resumen", is_done);
    let answer = app.get("/resumen").body;
    let results = &serde_json::from_str::<Value>(&answer).unwrap()["resultados"];
    for name in ["more", "nested", "fraction", "digits"] {
        assert_eq!(results[name]["code"], "extract_failed", "{name}");
    }
    let mut python = Command::new("python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(answer.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = String::from_utf8(output.stdout).unwrap();
    for name in ["most", "exponent", "text", "one", "passed"] {
        assert!(read.split_whitespace().any(|known| known == name), "{read}");
    }
}
