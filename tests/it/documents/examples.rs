//! Every page: what looks like a configuration is one. Recipes have a test of their own.

use std::path::Path;

use super::parts;

/// The names of the pages in `docs/`.
fn pages() -> Vec<String> {
    let entries = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_example_of_a_configuration_is_one() {
    let mut examples = 0;
    for name in pages().iter().filter(|name| *name != "recipes.md") {
        for text in parts(name).iter().flat_map(|part| part.blocks("toml")) {
            let read = resumen::config::parse(Path::new("docs/x.toml"), text.as_bytes(), &environment);
            read.unwrap_or_else(|report| panic!("{name}: {report}"));
            examples += 1;
        }
    }
    assert!(examples > 1, "{examples}");
}

/// What an example may expect to be set.
fn environment(name: &str) -> Option<String> {
    name.ends_with("_PASSWORD").then(|| "example".to_owned())
}
