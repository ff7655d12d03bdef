//! `docs/logging.md` lists every line that the log may have.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{compare, parts, ticked};

/// A line of the log as a row of the document says it: level, message, fields.
fn line(level: &str, message: &str, fields: &[String]) -> String {
    format!("{level} `{message}` [{}]", fields.join(", "))
}

/// The events in a source text, less its tests.
fn events(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut found = Vec::new();
    for level in ["trace", "debug", "info", "warn", "error"] {
        let call = format!("{level}!(");
        for (at, _) in text.match_indices(&call) {
            let inside_a_name =
                text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if inside_a_name {
                continue;
            }
            let (mut message, mut fields) = (String::new(), Vec::new());
            for argument in arguments(&text[at + call.len()..]) {
                match argument.strip_prefix('"') {
                    Some(literal) => literal.trim_end_matches('"').clone_into(&mut message),
                    None => fields.push(field(&argument)),
                }
            }
            found.push(line(level, &message, &fields));
        }
    }
    found
}

/// The name of a field: before its `=`, or the variable itself.
fn field(argument: &str) -> String {
    argument
        .split(" = ")
        .next()
        .unwrap()
        .trim_start_matches(['%', '?'])
        .to_owned()
}

/// The arguments of a call, up to its closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
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

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            sources(&path)
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
fn every_line_of_the_log_is_in_the_document_and_every_one_there_exists() {
    let known: BTreeSet<String> = sources(Path::new("src"))
        .iter()
        .flat_map(|path| events(&fs::read_to_string(path).unwrap()))
        .collect();
    let rows = parts("logging.md")
        .iter()
        .flat_map(super::Part::rows)
        .collect::<Vec<_>>();
    let row = |row: &Vec<String>| {
        let fields: Vec<String> = ticked(&row[2])
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        line(&row[0], ticked(&row[1])[0], &fields)
    };
    compare("docs/logging.md", &rows.iter().map(row).collect(), &known);
}

#[test]
fn events_are_found_however_they_are_written() {
    let text = "warn!(source, code = f(a, \"b\"), %error, ?pause, \"it {x}\");\n  tracing::info!(\"done\");\nno_warn!(x)\n";
    let expected = [
        "info `done` []",
        "warn `it {x}` [source, code, error, pause]",
    ];
    assert_eq!(events(text), expected);
}
