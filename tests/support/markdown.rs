//! The Markdown files of `docs` by sections, tables and code blocks.

use std::collections::BTreeSet;

/// The part of a document below one heading.
pub struct MarkdownSection {
    pub heading: String,
    pub text: String,
    pub blocks: Vec<CodeBlock>,
}

/// A fenced code block.
pub struct CodeBlock {
    /// `toml`, `json`, `sh`, …
    pub language: String,
    pub text: String,
}

/// The sections of a document in `docs/`, without nesting.
pub fn markdown_sections(name: &str) -> Vec<MarkdownSection> {
    let document = std::fs::read_to_string(format!("docs/{name}")).unwrap();
    let mut sections: Vec<MarkdownSection> = Vec::new();
    let mut open: Option<CodeBlock> = None;
    for line in document.lines() {
        // Code blocks in lists are indented.
        if let Some(language) = line.trim_start().strip_prefix("```") {
            match open.take() {
                Some(block) => sections.last_mut().unwrap().blocks.push(block),
                None => {
                    open = Some(CodeBlock {
                        language: language.to_owned(),
                        text: String::new(),
                    });
                }
            }
        } else if let Some(block) = &mut open {
            block.text.push_str(line);
            block.text.push('\n');
        } else if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim().to_owned();
            sections.push(MarkdownSection {
                heading,
                text: String::new(),
                blocks: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.text.push_str(line);
            section.text.push('\n');
        }
    }
    assert!(open.is_none(), "{name}: a code block has no end");
    sections
}

impl MarkdownSection {
    /// The code blocks in this language.
    pub fn blocks_in_language(&self, language: &str) -> Vec<&str> {
        self.blocks
            .iter()
            .filter(|block| block.language == language)
            .map(|block| block.text.as_str())
            .collect()
    }

    /// The cells of its tables, without their headings.
    pub fn table_rows(&self) -> Vec<Vec<String>> {
        let lines = self.text.lines().filter(|line| line.starts_with('|'));
        let rows = lines.map(|line| {
            let line = line.trim().trim_matches('|').replace("\\|", "\u{1}");
            line.split('|')
                .map(|cell| cell.trim().replace('\u{1}', "|"))
                .collect::<Vec<_>>()
        });
        let mut kept = Vec::new();
        for row in rows {
            // The row above a ruler is the heading.
            if row.iter().all(|cell| cell.starts_with("--")) {
                kept.pop();
            } else {
                kept.push(row);
            }
        }
        kept
    }

    /// The anchor of the heading in links.
    pub fn heading_anchor(&self) -> String {
        let heading = self.heading.to_lowercase().replace(' ', "-");
        heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            .collect()
    }
}

/// The texts between backticks in a cell.
pub fn code_spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Fails unless a document lists exactly the known items.
#[track_caller]
pub fn assert_lists_exactly(document: &str, listed: &BTreeSet<String>, known: &BTreeSet<String>) {
    let missing_in = |listed: &BTreeSet<String>, wanted: &BTreeSet<String>| -> String {
        wanted
            .difference(listed)
            .map(|line| format!("\n  {line}"))
            .collect::<Vec<_>>()
            .concat()
    };
    let (missing, unknown) = (missing_in(listed, known), missing_in(known, listed));
    assert!(
        missing.is_empty(),
        "{document} lacks a row for:{missing}\nand lists unknown items:{unknown}"
    );
    assert!(
        unknown.is_empty(),
        "{document} lists unknown items:{unknown}"
    );
    assert!(!known.is_empty());
}
