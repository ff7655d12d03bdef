//! All documents: links resolve, configuration examples are valid, and test filters match tests. `recipe_docs` and
//! `recipe_home_docs` cover the recipes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::markdown::{MarkdownSection, code_spans, markdown_sections};

const MINIMAL_SOURCE: &str = "[sources.a]\nurl = \"http://example.org/\"\n";

/// Returns the file names of the documents in `docs/`.
fn documentation_pages() -> Vec<String> {
    let entries = std::fs::read_dir("docs")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// Returns the targets of `[…](target)` that are not URLs.
fn link_targets(text: &str) -> Vec<&str> {
    let after = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    after
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://"))
        .collect()
}

/// Returns the paths of the README and of the documents in `docs/`.
fn documentation_files() -> Vec<PathBuf> {
    let pages = documentation_pages();
    let mut files: Vec<PathBuf> = pages
        .iter()
        .map(|name| Path::new("docs").join(name))
        .collect();
    files.push("README.md".into());
    files
}

#[test]
fn documentation_links_resolve() {
    let files = documentation_files();
    assert!(files.len() > 6);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for target in link_targets(&text) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = if path.is_empty() {
                file.clone()
            } else {
                file.with_file_name(path)
            };
            assert!(page.exists(), "{}: {target}", file.display());
            if !anchor.is_empty() && page.parent() == Some(Path::new("docs")) {
                let headings: Vec<String> =
                    markdown_sections(page.file_name().unwrap().to_str().unwrap())
                        .iter()
                        .map(MarkdownSection::heading_anchor)
                        .collect();
                assert!(
                    headings.iter().any(|heading| heading == anchor),
                    "{target} of {headings:?}"
                );
            }
        }
    }
}

#[test]
fn documentation_examples_are_valid() {
    let mut examples = 0;
    for name in documentation_pages()
        .iter()
        .filter(|name| !name.starts_with("recipes"))
    {
        for text in markdown_sections(name)
            .iter()
            .flat_map(|section| section.blocks_in_language("toml"))
        {
            // A configuration needs at least one source.
            let text = if text.contains("[sources.") {
                text.to_owned()
            } else {
                format!("{text}\n{MINIMAL_SOURCE}")
            };
            let parsed = resumen::config::parse(
                Path::new("docs/x.toml"),
                text.as_bytes(),
                &test_environment,
            );
            parsed.unwrap_or_else(|report| panic!("{name}: {report}"));
            examples += 1;
        }
    }
    assert!(examples > 1, "{examples}");
}

/// The environment variables that examples use.
fn test_environment(name: &str) -> Option<String> {
    name.ends_with("_PASSWORD").then(|| "example".to_owned())
}

/// Returns the names of all tests of this binary.
fn integration_test_names() -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("--list")
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

#[test]
fn documented_test_filters_match() {
    let names = integration_test_names();
    let matches_test = |filter: &str| names.iter().any(|name| name.contains(filter));
    for file in documentation_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        for rest in text.split("--test it ").skip(1) {
            let filter = rest.split([' ', '`', '\n']).next().unwrap();
            assert!(matches_test(filter), "{}: {filter}", file.display());
        }
    }
    let threats = markdown_sections("threat-model.md")
        .into_iter()
        .find(|part| part.heading == "What is done")
        .unwrap();
    for row in threats.table_rows() {
        for filter in code_spans(&row[2]) {
            let module = Path::new("src").join(filter.replace("::", "/"));
            let in_source = module.exists() || module.with_extension("rs").exists();
            assert!(
                in_source || matches_test(filter),
                "threat-model.md: {filter}"
            );
        }
    }
}
