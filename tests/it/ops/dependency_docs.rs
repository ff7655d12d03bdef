//! The dependencies: `docs/dependencies.md` has each direct one, and the notices of the image have each crate.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use toml::Table;

use crate::support::markdown::{assert_lists_exactly, code_spans, markdown_sections};

/// The names in the tables `dependencies` and `dev-dependencies` of Cargo.toml.
fn direct_dependencies() -> BTreeSet<String> {
    let manifest: Table = toml::from_str(&fs::read_to_string("Cargo.toml").unwrap()).unwrap();
    ["dependencies", "dev-dependencies"]
        .iter()
        .flat_map(|table| manifest[*table].as_table().unwrap().keys().cloned())
        .collect()
}

#[test]
fn each_direct_dependency_has_row() {
    let mut listed = BTreeSet::new();
    for section in markdown_sections("dependencies.md") {
        let is_dependency_table = section.text.contains("| crate |");
        for row in section.table_rows() {
            if is_dependency_table {
                listed.extend(code_spans(&row[0]).iter().map(ToString::to_string));
                assert!(
                    row.iter().all(|cell| !cell.is_empty()),
                    "a cell of {row:?} is empty"
                );
            }
        }
    }
    // A feature that only tests need is no dependency of its own.
    assert_lists_exactly("docs/dependencies.md", &listed, &direct_dependencies());
}

#[test]
fn notices_have_text_of_every_crate() {
    let output = Command::new("config/deploy/notices.sh").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let notices = String::from_utf8(output.stdout).unwrap();
    let mut parts = notices
        .split("\n------------------------------------------------------------------------\n");
    let list = parts.next().unwrap();
    let listed: BTreeSet<&str> = list
        .lines()
        .skip(2)
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    let described: BTreeSet<&str> = parts
        .flat_map(|part| part.lines().take_while(|line| !line.is_empty()))
        .collect();
    assert_eq!(listed, described);
    // A direct dependency, one behind it, and one with a C library; no macro and no program of the tests.
    for name in ["jaq-core", "ring", "zstd-sys"] {
        assert!(
            listed
                .iter()
                .any(|listed| listed.starts_with(&format!("{name} v"))),
            "{name}"
        );
    }
    for name in ["serde_derive", "insta", "resumen"] {
        assert!(
            !listed
                .iter()
                .any(|listed| listed.starts_with(&format!("{name} v"))),
            "{name}"
        );
    }
    assert!(
        notices.contains("Meta Platforms, Inc. and affiliates"),
        "the license of the C library zstd"
    );
}
