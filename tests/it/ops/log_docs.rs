//! `docs/logging.md` lists every log event in `src`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::markdown::{assert_lists_exactly, code_spans, markdown_sections};

/// Formats a log event like a row of the document: level, message, fields.
fn format_event(level: &str, message: &str, fields: &[String]) -> String {
    format!("{level} `{message}` [{}]", fields.join(", "))
}

/// Returns the log events in a source text, without its unit tests.
fn scan_log_events(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut found = Vec::new();
    for level in ["trace", "debug", "info", "warn", "error"] {
        let call = format!("{level}!(");
        for (at, _) in text.match_indices(&call) {
            let is_part_of_name =
                text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if is_part_of_name {
                continue;
            }
            let (mut message, mut fields) = (String::new(), Vec::new());
            for argument in split_arguments(&text[at + call.len()..]) {
                match argument.strip_prefix('"') {
                    Some(literal) => literal.trim_end_matches('"').clone_into(&mut message),
                    None => fields.push(field_name(&argument)),
                }
            }
            found.push(format_event(level, &message, &fields));
        }
    }
    found
}

/// Returns the name of a field: the text before `=`, or the variable.
fn field_name(argument: &str) -> String {
    argument
        .split(" = ")
        .next()
        .unwrap()
        .trim_start_matches(['%', '?'])
        .to_owned()
}

/// Splits the arguments of a macro call, up to its closing parenthesis.
fn split_arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut arguments = vec![String::new()];
    for char in text.chars() {
        let last = arguments.last_mut().unwrap();
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(char);
    }
    let trimmed = arguments.iter().map(|argument| argument.trim().to_owned());
    trimmed.filter(|argument| !argument.is_empty()).collect()
}

/// Returns the Rust files below `folder`.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            rust_files(&path)
        } else {
            vec![path]
        }
    };
    entries
        .flat_map(below)
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

#[test]
fn documented_log_events_match() {
    let known: BTreeSet<String> = rust_files(Path::new("src"))
        .iter()
        .flat_map(|path| scan_log_events(&fs::read_to_string(path).unwrap()))
        .collect();
    let rows = markdown_sections("logging.md")
        .iter()
        .flat_map(crate::support::markdown::MarkdownSection::table_rows)
        .collect::<Vec<_>>();
    let row = |row: &Vec<String>| {
        let fields: Vec<String> = code_spans(&row[2])
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        format_event(&row[0], code_spans(&row[1])[0], &fields)
    };
    assert_lists_exactly("docs/logging.md", &rows.iter().map(row).collect(), &known);
}

#[test]
fn log_event_scanner_finds_every_form() {
    let text = "warn!(source, code = f(a, \"b\"), %error, ?pause, \"it {x}\");\n  tracing::info!(\"done\");\nno_warn!(x)\n";
    let expected = [
        "info `done` []",
        "warn `it {x}` [source, code, error, pause]",
    ];
    assert_eq!(scan_log_events(text), expected);
}
