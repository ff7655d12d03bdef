//! The documents, held to what they speak of: examples are run, tables are compared, links lead somewhere.

use std::collections::BTreeSet;

/// A part of a document below one heading.
pub struct MarkdownSection {
    pub heading: String,
    pub text: String,
    pub blocks: Vec<CodeBlock>,
}

/// A fenced block.
pub struct CodeBlock {
    /// `toml`, `json`, `sh`, …
    pub language: String,
    pub text: String,
}

/// The parts of a document in `docs/`, whatever the level of their headings.
pub fn markdown_sections(name: &str) -> Vec<MarkdownSection> {
    let document = std::fs::read_to_string(format!("docs/{name}")).unwrap();
    let mut parts: Vec<MarkdownSection> = Vec::new();
    let mut open: Option<CodeBlock> = None;
    for line in document.lines() {
        // Blocks within lists are indented as a whole.
        if let Some(language) = line.trim_start().strip_prefix("```") {
            match open.take() {
                Some(block) => parts.last_mut().unwrap().blocks.push(block),
                None => {
                    open = Some(CodeBlock {
                        language: language.to_owned(),
                        text: String::new(),
                    })
                }
            }
        } else if let Some(block) = &mut open {
            block.text.push_str(line);
            block.text.push('\n');
        } else if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim().to_owned();
            parts.push(MarkdownSection {
                heading,
                text: String::new(),
                blocks: Vec::new(),
            });
        } else if let Some(part) = parts.last_mut() {
            part.text.push_str(line);
            part.text.push('\n');
        }
    }
    assert!(open.is_none(), "{name}: a block is never closed");
    parts
}

impl MarkdownSection {
    /// The texts of its blocks in this language.
    pub fn blocks_in_language(&self, language: &str) -> Vec<&str> {
        self.blocks
            .iter()
            .filter(|block| block.language == language)
            .map(|block| block.text.as_str())
            .collect()
    }

    /// The cells of the rows of its tables, headings and rulers left out.
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
            // A ruler says that the row before it was a heading.
            if row.iter().all(|cell| cell.starts_with("--")) {
                kept.pop();
            } else {
                kept.push(row);
            }
        }
        kept
    }

    /// How links call its heading.
    pub fn heading_anchor(&self) -> String {
        let heading = self.heading.to_lowercase().replace(' ', "-");
        heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            .collect()
    }
}

/// What stands between ticks in a cell.
pub fn code_spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Fails unless a document lists exactly what there is.
#[track_caller]
pub fn assert_lists_exactly(document: &str, listed: &BTreeSet<String>, known: &BTreeSet<String>) {
    let lines = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> String {
        one.difference(other)
            .map(|line| format!("\n  {line}"))
            .collect::<Vec<_>>()
            .concat()
    };
    let (missing, gone) = (lines(known, listed), lines(listed, known));
    assert!(
        missing.is_empty(),
        "{document} lacks a row for:{missing}\nand lists what does not exist:{gone}"
    );
    assert!(
        gone.is_empty(),
        "{document} lists what does not exist:{gone}"
    );
    assert!(!known.is_empty());
}
