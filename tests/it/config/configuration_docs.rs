//! `docs/configuration.md`: examples are valid, mistakes give the documented message, questionable settings give the
//! documented warning, and keys that need a restart are marked. A unit test of `config` compares the tables with the keys.

use std::path::Path;

use resumen::config::{Config, ConfigError, parse};

use crate::support::markdown::{MarkdownSection, markdown_sections};

const MINIMAL_SOURCE: &str = "[sources.a]\nurl = \"https://a.example/\"\n";

const LOGIN: &str = "[auth.bank]\nurl = \"https://id.example/\"\n";

/// Returns a configuration with `line` in the section that `heading` names.
fn config_with_line(heading: &str, line: &str) -> String {
    match heading.trim_matches('`') {
        section @ ("[server]" | "[store]" | "[defaults]") => {
            format!("{section}\n{line}\n{MINIMAL_SOURCE}")
        }
        "[[sources.NAME.providers]]" => {
            format!("[[sources.a.providers]]\nurl = \"https://a.example/\"\n{line}\n")
        }
        "[server.tls]" => {
            let pair = ["cert_file = \"server.pem\"", "key_file = \"server.key\""];
            let is_other = |own: &&&str| own.split(' ').next() != line.split(' ').next();
            let others: Vec<&str> = pair.iter().filter(is_other).copied().collect();
            let others = others.join("\n");
            format!("[server.tls]\n{line}\n{others}\n{MINIMAL_SOURCE}")
        }
        "[server.tokens.NAME]" => {
            let other = if line.starts_with("token") {
                "routes = [\"data\"]"
            } else {
                "token = \"wall-0123456789abcdef\""
            };
            format!("[server.tokens.a]\n{line}\n{other}\n{MINIMAL_SOURCE}")
        }
        "[[sources.NAME.metrics]]" => {
            let required = [("name", "\"x\""), ("value", "\".\"")];
            let absent = required.iter().filter(|(key, _)| !line.starts_with(key));
            let absent: Vec<_> = absent
                .map(|(key, value)| format!("{key} = {value}\n"))
                .collect();
            let absent = absent.concat();
            format!("{MINIMAL_SOURCE}[[sources.a.metrics]]\n{line}\n{absent}")
        }
        "[derived.NAME]" if line.starts_with("from") => {
            format!("{MINIMAL_SOURCE}[derived.d]\n{line}\n")
        }
        "[derived.NAME]" => format!("{MINIMAL_SOURCE}[derived.d]\nfrom = [\"a\"]\n{line}\n"),
        "[sources.NAME.paths.\"PATH\"]" => format!("{MINIMAL_SOURCE}[sources.a.paths.b]\n{line}\n"),
        "[auth.NAME]" => format!("{MINIMAL_SOURCE}{LOGIN}extract = \".\"\n{line}\n"),
        _ if line.starts_with("auth") => {
            format!("{MINIMAL_SOURCE}{line}\n{LOGIN}cookies = true\n")
        }
        _ if line.starts_with("url") || line.starts_with("providers = [{") => {
            format!("[sources.a]\n{line}\n")
        }
        _ if line.starts_with("key_file") => {
            format!("{MINIMAL_SOURCE}cert_file = \"client.pem\"\n{line}\n")
        }
        _ => format!("{MINIMAL_SOURCE}{line}\n"),
    }
}

fn load_text(folder: &Path, text: &str) -> Result<Config, ConfigError> {
    parse(&folder.join("resumen.toml"), text.as_bytes(), &|_| None)
}

/// Returns the first code span of a table cell.
fn code_span(cell: &str) -> &str {
    cell.split('`')
        .nth(1)
        .unwrap_or_else(|| panic!("no code: {cell}"))
}

/// Returns the sections that are tables of keys.
fn sections() -> Vec<MarkdownSection> {
    let sections: Vec<_> = markdown_sections("configuration.md")
        .into_iter()
        .filter(|section| section.heading.starts_with("`["))
        .collect();
    assert_eq!(sections.len(), 11);
    assert!(
        sections
            .iter()
            .map(|section| section.table_rows().len())
            .sum::<usize>()
            > 25
    );
    sections
}

/// Creates a folder with the files that the examples name.
fn temp_config_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = rcgen::generate_simple_self_signed(["example.org".to_owned()]).unwrap();
    let (certificate, key) = (authority.cert.pem(), authority.signing_key.serialize_pem());
    for (name, text) in [
        ("wall.token", &"wall-0123456789abcdef\n".to_owned()),
        ("ca.pem", &certificate),
        ("client.key", &key),
        ("server.key", &key),
        ("server.pem", &certificate),
        ("client.pem", &(certificate.clone() + &key)),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn configuration_examples_are_valid() {
    let folder = temp_config_folder();
    for section in sections() {
        for row in section.table_rows() {
            let text = config_with_line(&section.heading, code_span(&row[0]));
            load_text(folder.path(), &text).unwrap_or_else(|report| panic!("{report}"));
        }
    }
}

#[test]
fn documented_errors_match() {
    let folder = temp_config_folder();
    let sections = markdown_sections("configuration.md");
    let mistakes = sections
        .iter()
        .find(|section| section.heading == "Mistakes");
    let rows = mistakes.unwrap().table_rows();
    assert!(rows.len() > 30);
    for row in rows {
        let text = config_with_line(&row[0], code_span(&row[1]));
        let report = match load_text(folder.path(), &text) {
            Err(report) => report.to_string(),
            Ok(config) => format!("{:?}", config.warnings),
        };
        assert!(report.contains(&row[2]), "{} gives\n{report}", row[1]);
    }
}

#[test]
fn documented_units_parse() {
    let folder = temp_config_folder();
    let sections = markdown_sections("configuration.md");
    let units = sections
        .iter()
        .find(|section| section.heading == "Forms")
        .unwrap()
        .table_rows();
    for (row, key) in [(0, "ttl"), (1, "max_body")] {
        let code_spans = |cell: &str| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let is_valid = |value: &String| {
            load_text(
                folder.path(),
                &config_with_line("`[defaults]`", &format!("{key} = {value}")),
            )
            .is_ok()
        };
        let (valid_values, invalid_values) =
            (code_spans(&units[row][1]), code_spans(&units[row][2]));
        assert!(valid_values.len() > 5 && invalid_values.len() > 1);
        assert!(valid_values.iter().all(is_valid), "{valid_values:?}");
        assert!(!invalid_values.iter().any(is_valid), "{invalid_values:?}");
    }
}

#[test]
fn documented_warnings_match() {
    let folder = temp_config_folder();
    let sections = markdown_sections("configuration.md");
    let risky = sections
        .iter()
        .find(|section| section.heading == "Warnings")
        .unwrap();
    for row in risky.table_rows() {
        let config = load_text(folder.path(), &config_with_line("", code_span(&row[0])))
            .unwrap_or_else(|report| panic!("{report}"));
        let report: Vec<_> = config
            .warnings
            .iter()
            .map(|warning| warning.message.as_str())
            .collect();
        assert_eq!(report, [row[1].as_str()], "{}", row[0]);
    }
}

#[test]
fn restart_keys_match_docs() {
    let folder = temp_config_folder();
    let old = load_text(folder.path(), MINIMAL_SOURCE).unwrap();
    for section in sections() {
        for row in section.table_rows() {
            let example = code_span(&row[0]);
            let new =
                load_text(folder.path(), &config_with_line(&section.heading, example)).unwrap();
            let section = section.heading.trim_matches(['`', '[', ']']);
            let key = format!("{section}.{}", example.split(' ').next().unwrap());
            let needs_restart = row[3] == "restart";
            let keys = old.keys_needing_restart(&new);
            assert_eq!(keys.contains(&key), needs_restart, "{key}");
        }
    }
}
