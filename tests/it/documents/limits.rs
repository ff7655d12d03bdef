//! `docs/limits.md`: each constant that it names has the value that it says; defaults are the configuration's.

use super::parts;

#[test]
fn every_constant_has_the_value_that_the_page_says() {
    let mut seen = 0;
    for part in parts("limits.md") {
        for row in part.rows() {
            let code: Vec<&str> = row[2].split('`').collect();
            let [_, file, _, written, _] = code[..] else {
                continue;
            };
            let (name, value) = written.split_once(" = ").unwrap();
            let source =
                std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
            let named = |line: &&str| line.contains(&format!("const {name}: "));
            let line = source
                .lines()
                .find(named)
                .unwrap_or_else(|| panic!("{file} has no {name}"));
            assert!(line.ends_with(&format!(" = {value};")), "{file}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn the_keys_of_the_page_are_keys_of_the_reference() {
    let reference = std::fs::read_to_string("docs/configuration.md").unwrap();
    let parts = parts("limits.md");
    let configured = parts
        .iter()
        .find(|part| part.heading == "Set in the configuration")
        .unwrap();
    for row in configured.rows() {
        let key = row[2].trim_matches('`').trim_start_matches("server.");
        assert!(reference.contains(&format!("| `{key} = ")), "{key}");
    }
}
