//! All documents: links resolve and configuration examples are valid. `recipe_docs` tests the recipes.

use std::path::{Path, PathBuf};

use crate::support::markdown::{MarkdownSection, markdown_sections};

const MINIMAL_SOURCE: &str = "[sources.a]\nurl = \"http://example.org/\"\n";

/// The names of the pages in `docs/`.
fn documentation_pages() -> Vec<String> {
    let entries = std::fs::read_dir("docs")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// The targets of links to files.
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

#[test]
fn documentation_links_resolve() {
    let mut files: Vec<PathBuf> = documentation_pages()
        .iter()
        .map(|name| Path::new("docs").join(name))
        .collect();
    files.push("README.md".into());
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
        .filter(|name| *name != "recipes.md")
    {
        for text in markdown_sections(name)
            .iter()
            .flat_map(|section| section.blocks_in_language("toml"))
        {
            // An excerpt without sources is not a complete configuration.
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

/// The variables that examples use.
fn test_environment(name: &str) -> Option<String> {
    name.ends_with("_PASSWORD").then(|| "example".to_owned())
}
