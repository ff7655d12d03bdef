//! `docs/limits.md`: constants have the documented values, and keys exist.

use crate::support::markdown::markdown_sections;

#[test]
fn documented_constants_match() {
    let mut seen = 0;
    for section in markdown_sections("limits.md") {
        for row in section.table_rows() {
            let code: Vec<&str> = row[2].split('`').collect();
            let [_, file, _, definition, _] = code[..] else {
                continue;
            };
            let (name, value) = definition.split_once(" = ").unwrap();
            let source =
                std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
            let is_definition = |line: &&str| line.contains(&format!("const {name}: "));
            let line = source
                .lines()
                .find(is_definition)
                .unwrap_or_else(|| panic!("{file} has no {name}"));
            assert!(line.ends_with(&format!(" = {value};")), "{file}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn documented_limit_keys_exist() {
    let reference = std::fs::read_to_string("docs/configuration.md").unwrap();
    let sections = markdown_sections("limits.md");
    let configured = sections
        .iter()
        .find(|section| section.heading == "Set in the configuration")
        .unwrap();
    for row in configured.table_rows() {
        let key = row[2].trim_matches('`').trim_start_matches("server.");
        assert!(reference.contains(&format!("| `{key} = ")), "{key}");
    }
}
