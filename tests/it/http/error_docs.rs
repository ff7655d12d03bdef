//! `docs/errors.md` lists every failure code and every problem code.

use resumen::domain::Code;
use serde_json::Value;

use crate::support::markdown::{assert_lists_exactly, code_spans, markdown_sections};
use crate::support::test_app::TestApp;

fn rows_below(heading: &str) -> Vec<Vec<String>> {
    let sections = markdown_sections("errors.md");
    let section = sections.iter().find(|section| section.heading == heading);
    section
        .unwrap_or_else(|| panic!("docs/errors.md has no section `{heading}`"))
        .table_rows()
}

#[test]
fn failure_codes_are_documented() {
    let rows = rows_below("Why a source fails");
    assert!(
        rows.iter()
            .all(|row| row.len() == 3 && row.iter().all(|cell| !cell.is_empty()))
    );
    let listed = rows
        .iter()
        .map(|row| code_spans(&row[0])[0].to_owned())
        .collect();
    assert_lists_exactly(
        "docs/errors.md",
        &listed,
        &Code::ALL
            .iter()
            .map(|code| code.as_str().to_owned())
            .collect(),
    );
}

#[test]
fn problem_codes_are_documented() {
    let document =
        TestApp::start("[store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:1/\"\n")
            .get_json("/openapi.json");
    let mut known = std::collections::BTreeSet::new();
    collect_codes(&document, &mut known);
    let listed = rows_below("Why a request is refused");
    assert!(
        listed
            .iter()
            .all(|row| row.len() == 4 && row.iter().all(|cell| !cell.is_empty()))
    );
    let listed = listed
        .iter()
        .map(|row| format!("{} {}", code_spans(&row[0])[0], row[1]))
        .collect();
    assert_lists_exactly("docs/errors.md", &listed, &known);
}

/// Collects code and status of each example problem in `/openapi.json`.
fn collect_codes(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    if let (Some(code), Some(status), Some(_)) = (
        value["code"].as_str(),
        value["status"].as_u64(),
        value.get("title"),
    ) {
        found.insert(format!("{code} {status}"));
    }
    match value {
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_codes(member, found)),
        Value::Array(items) => items.iter().for_each(|item| collect_codes(item, found)),
        _ => {}
    }
}
