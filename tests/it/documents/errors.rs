//! `docs/errors.md` lists every code.

use resumen::domain::Code;
use serde_json::Value;

use super::{compare, parts, ticked};
use crate::support::served::Served;

fn rows(heading: &str) -> Vec<Vec<String>> {
    let parts = parts("errors.md");
    let part = parts.iter().find(|part| part.heading == heading);
    part.unwrap_or_else(|| panic!("docs/errors.md has no part `{heading}`"))
        .rows()
}

#[test]
fn every_failure_code_has_cause_and_remedy() {
    let rows = rows("Why a source fails");
    assert!(
        rows.iter()
            .all(|row| row.len() == 3 && row.iter().all(|cell| !cell.is_empty()))
    );
    let listed = rows
        .iter()
        .map(|row| ticked(&row[0])[0].to_owned())
        .collect();
    compare(
        "docs/errors.md",
        &listed,
        &Code::ALL
            .iter()
            .map(|code| code.as_str().to_owned())
            .collect(),
    );
}

#[test]
fn every_problem_has_status_cause_and_remedy() {
    let document =
        Served::start("[store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:1/\"\n")
            .json("/openapi.json");
    let mut known = std::collections::BTreeSet::new();
    collect(&document, &mut known);
    let listed = rows("Why a request is refused");
    assert!(
        listed
            .iter()
            .all(|row| row.len() == 4 && row.iter().all(|cell| !cell.is_empty()))
    );
    let listed = listed
        .iter()
        .map(|row| format!("{} {}", ticked(&row[0])[0], row[1]))
        .collect();
    compare("docs/errors.md", &listed, &known);
}

/// Code and status of each example of a problem.
fn collect(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    if let (Some(code), Some(status), Some(_)) = (
        value["code"].as_str(),
        value["status"].as_u64(),
        value.get("title"),
    ) {
        found.insert(format!("{code} {status}"));
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
