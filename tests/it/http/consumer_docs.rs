//! `docs/consumers.md` against the demonstration: its URLs are answered, and its names are those of values.
//! `python3 tests/consumers` runs the programs themselves.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::child_process::{TestProcess, base_url, program_command};
use crate::support::http_reply::{http_get, send_request};
use crate::support::wait::wait_for;

/// The address that stands for that of the service.
const DOCUMENTED_BASE: &str = "http://resumen.lan:8080";

/// Members of a source that are present only while it fails.
const OPTIONAL_MEMBERS: [&str; 3] = ["code", "error", "failing_since"];

fn read_page() -> String {
    std::fs::read_to_string("docs/consumers.md").unwrap()
}

fn start_demo() -> (TestProcess, String) {
    let arguments = ["demo", "--listen", "127.0.0.1:0"];
    let program = TestProcess::start(&mut program_command(&arguments, &[]));
    let base = base_url(&program.wait_for_stdout_line("demonstration is on"));
    let is_complete = |base: &str| http_get(base, "/resumen").json()["complete"] == true;
    wait_for("a complete answer", || is_complete(&base).then_some(()));
    (program, base)
}

/// The targets of the page's URLs, and the paths between backticks in its first table.
fn documented_targets(page: &str) -> BTreeSet<String> {
    let is_end = |c: char| c.is_whitespace() || "\"'`)<>,;{}$".contains(c);
    let urls = page.split(DOCUMENTED_BASE).skip(1).map(|rest| {
        // A comma is part of a list of sources.
        let end = rest.find(|c| c != ',' && is_end(c)).unwrap_or(rest.len());
        rest[..end].trim_end_matches([',', '.'])
    });
    let spans = page.lines().filter(|line| line.starts_with('|'));
    let spans = spans.flat_map(|line| line.split('`').skip(1).step_by(2));
    let paths = spans.filter(|span| span.starts_with('/'));
    let targets = urls.chain(paths).filter(|target| !target.is_empty());
    targets.map(str::to_owned).collect()
}

#[test]
fn documented_urls_are_answered() {
    let page = read_page();
    let (_program, base) = start_demo();
    let targets = documented_targets(&page);
    assert!(targets.len() >= 9, "{targets:?}");
    for target in targets {
        // HEAD, as the stream has no end.
        let head = format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(send_request(&base, &head).status, 200, "{target}");
    }
}

#[test]
fn documented_names_are_those_of_values() {
    let page = read_page();
    let (_program, base) = start_demo();
    let flat = http_get(&base, "/resumen?format=flat").json();
    let summary = http_get(&base, "/resumen").json();
    let sources = summary["resultados"].as_object().unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for word in page.split(|c| !is_word(c)) {
        let word = word.trim_matches('.');
        let parts: Vec<&str> = word.split('.').collect();
        if parts
            .last()
            .is_some_and(|last| OPTIONAL_MEMBERS.contains(last))
        {
            continue;
        }
        match parts[..] {
            [source, _, ..] if sources.contains_key(source) => {
                assert!(flat.get(word).is_some(), "{word} is not in {flat}");
                found[0].insert(word);
            }
            ["resultados", _, ..] => {
                let value = parts.iter().fold(&summary, |value, key| &value[*key]);
                assert_ne!(value, &Value::Null, "{word} is not in {summary}");
                found[1].insert(word);
            }
            _ => {}
        }
    }
    assert!(found[0].len() >= 5 && found[1].len() >= 4, "{found:?}");
}
