//! `docs/configuration.md`: each example is valid, each mistake gives its message, each warning is given, and what needs a
//! restart is said to. That no key is missing is tested beside the lists of keys in `src/config/raw.rs`.

use std::path::Path;

use resumen::config::{Config, Report, parse};

use super::{Part, parts};

const SOURCE: &str = "[sources.a]\nurl = \"https://a.example/\"\n";

/// A file that holds `line` in the section that a heading names.
fn file(heading: &str, line: &str) -> String {
    match heading.trim_matches('`') {
        section @ ("[server]" | "[store]" | "[defaults]") => format!("{section}\n{line}\n{SOURCE}"),
        "[[sources.NAME.providers]]" => {
            format!("[[sources.a.providers]]\nurl = \"https://a.example/\"\n{line}\n")
        }
        "[derived.NAME]" if line.starts_with("from") => format!("{SOURCE}[derived.d]\n{line}\n"),
        "[derived.NAME]" => format!("{SOURCE}[derived.d]\nfrom = [\"a\"]\n{line}\n"),
        _ if line.starts_with("url") || line.starts_with("providers = [{") => {
            format!("[sources.a]\n{line}\n")
        }
        _ => format!("{SOURCE}{line}\n"),
    }
}

fn read(folder: &Path, text: &str) -> Result<Config, Report> {
    parse(&folder.join("resumen.toml"), text.as_bytes(), &|_| None)
}

/// The text between the first backticks of a cell that holds code.
fn code(cell: &str) -> &str {
    cell.split('`')
        .nth(1)
        .unwrap_or_else(|| panic!("no code: {cell}"))
}

/// The parts that are tables of keys.
fn sections() -> Vec<Part> {
    let sections: Vec<_> = parts("configuration.md")
        .into_iter()
        .filter(|part| part.heading.starts_with("`["))
        .collect();
    assert_eq!(sections.len(), 6);
    assert!(sections.iter().map(|part| part.rows().len()).sum::<usize>() > 30);
    sections
}

/// A folder with the files that examples name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = rcgen::generate_simple_self_signed(["example.org".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
    folder
}

#[test]
fn every_example_is_valid() {
    let folder = folder();
    for part in sections() {
        for row in part.rows() {
            let text = file(&part.heading, code(&row[0]));
            read(folder.path(), &text).unwrap_or_else(|report| panic!("{report}"));
        }
    }
}

#[test]
fn every_mistake_gives_its_message() {
    let folder = folder();
    for part in sections() {
        for row in part.rows() {
            let (mistake, message) = row[4]
                .split_once(" → ")
                .unwrap_or_else(|| panic!("{row:?}"));
            let told = match read(folder.path(), &file(&part.heading, code(mistake))) {
                Err(report) => report.to_string(),
                Ok(config) => format!("{:?}", config.warnings),
            };
            assert!(told.contains(message), "{mistake} gives\n{told}");
        }
    }
}

#[test]
fn durations_and_sizes_are_written_as_the_page_says() {
    let folder = folder();
    let parts = parts("configuration.md");
    let forms = parts
        .iter()
        .find(|part| part.heading == "Forms")
        .unwrap()
        .rows();
    for (at, key) in [(0, "ttl"), (1, "max_body")] {
        let all = |cell: &str| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let valid = |value: &String| {
            read(
                folder.path(),
                &file("`[defaults]`", &format!("{key} = {value}")),
            )
            .is_ok()
        };
        let (written, not) = (all(&forms[at][1]), all(&forms[at][2]));
        assert!(written.len() > 5 && not.len() > 1);
        assert!(written.iter().all(valid), "{written:?}");
        assert!(!not.iter().any(valid), "{not:?}");
    }
}

#[test]
fn every_warning_is_given() {
    let folder = folder();
    let parts = parts("configuration.md");
    let unwise = parts
        .iter()
        .find(|part| part.heading.starts_with("What is allowed"))
        .unwrap();
    for row in unwise.rows() {
        let config = read(folder.path(), &file("", code(&row[0])))
            .unwrap_or_else(|report| panic!("{report}"));
        let told: Vec<_> = config
            .warnings
            .iter()
            .map(|warning| warning.message.as_str())
            .collect();
        assert_eq!(told, [row[1].as_str()], "{}", row[0]);
    }
}

#[test]
fn what_needs_a_restart_is_what_the_document_says() {
    let folder = folder();
    let old = read(folder.path(), SOURCE).unwrap();
    for part in sections() {
        for row in part.rows() {
            let example = code(&row[0]);
            let new = read(folder.path(), &file(&part.heading, example)).unwrap();
            let section = part.heading.trim_matches(['`', '[', ']']);
            let key = format!("{section}.{}", example.split(' ').next().unwrap());
            let said = matches!(section, "server" | "store");
            assert_eq!(
                old.needs_restart(&new).contains(&key.as_str()),
                said,
                "{key}"
            );
        }
    }
}
