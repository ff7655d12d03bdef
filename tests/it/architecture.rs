//! The house stands: imports point down only, and each dependency is named where it belongs.

use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each module (see `src/lib.rs`). What has none may be used from anywhere and uses only what it names.
const MODULE_LAYERS: &[(&str, u8)] = &[
    ("domain", 0),
    ("clock", 0),
    ("extract", 1),
    ("render", 1),
    ("config", 2),
    ("fetch", 2),
    ("store", 2),
    ("fleet", 3),
    ("flight", 3),
    ("cache", 3),
    ("refresh", 4),
    ("live", 4),
    ("derive", 4),
    ("save", 4),
    ("share", 4),
    ("http", 4),
    ("app", 5),
    ("simulator", 4),
    ("shutdown", 0),
    ("supervise", 1),
    ("telemetry", 1),
    ("priority", 0),
    ("cli", 6),
    ("main", 7),
    ("lib", 7),
];

/// Arrows within a floor that are meant.
const ALLOWED_SAME_LAYER_IMPORTS: &[(&str, &str)] = &[
    ("clock", "domain"),
    ("flight", "fleet"),
    ("http", "live"),
    ("http", "refresh"),
    ("http", "save"),
];

/// Which modules may name a dependency.
const DEPENDENCY_OWNERS: &[(&str, &[&str])] = &[
    ("arc_swap", &["cache"]),
    ("jaq_core", &["extract"]),
    ("jaq_json", &["extract"]),
    ("jaq_std", &["extract"]),
    ("axum", &["http", "app", "simulator"]),
    ("clap", &["cli", "main"]),
    ("redis", &["store"]),
    ("toml", &["config"]),
    ("annotate_snippets", &["config"]),
    ("tokio_rustls", &["fetch", "config", "store"]),
    ("httpdate", &["fetch", "http"]),
];

struct SourceModule {
    path: PathBuf,
    name: String,
    text: String,
}

fn load_modules() -> Vec<SourceModule> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inner = path.strip_prefix(&src).unwrap();
                let first = inner
                    .components()
                    .next()
                    .unwrap()
                    .as_os_str()
                    .to_str()
                    .unwrap();
                let name = first.trim_end_matches(".rs").to_string();
                let text = fs::read_to_string(&path).unwrap();
                found.push(SourceModule {
                    path: inner.to_path_buf(),
                    name,
                    text,
                });
            }
        }
    }
    found
}

fn layer_of(name: &str) -> u8 {
    let known = MODULE_LAYERS.iter().find(|(module, _)| *module == name);
    known
        .unwrap_or_else(|| {
            panic!("module `{name}` has no floor: give it one in tests/it/layers.rs")
        })
        .1
}

/// The first names after `crate::` in code, comments left out.
fn crate_imports(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|l| l.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let after = |(at, door): (usize, &str)| {
        let rest = &code[at + door.len()..];
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    code.match_indices("crate::")
        .map(after)
        .filter(|name| name.starts_with(char::is_lowercase))
        .collect()
}

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for module in load_modules() {
        let from = layer_of(&module.name);
        for name in crate_imports(&module.text) {
            if !MODULE_LAYERS.iter().any(|(known, _)| *known == name) {
                continue; // a macro or a function of the crate's root
            }
            let sideways =
                ALLOWED_SAME_LAYER_IMPORTS.contains(&(module.name.as_str(), name.as_str()));
            if name != module.name && layer_of(&name) >= from && !sideways {
                wrong.push(format!("{} imports `{name}`", module.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point up or sideways:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn dependencies_stay_in_their_modules() {
    let mut wrong = Vec::new();
    for module in load_modules() {
        for (dependency, owners) in DEPENDENCY_OWNERS {
            let code = module
                .text
                .lines()
                .map(|l| l.split("//").next().unwrap_or_default());
            let named = code
                .into_iter()
                .any(|line| line.contains(&format!("{dependency}::")));
            if named && !owners.contains(&module.name.as_str()) {
                wrong.push(format!("{} names `{dependency}`", module.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "dependencies out of place:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = load_modules()
        .iter()
        .filter(|m| m.text.lines().count() > 350)
        .map(|m| format!("{}: {} lines", m.path.display(), m.text.lines().count()))
        .collect();
    assert!(
        long.is_empty(),
        "is each of these one room or two?\n{}",
        long.join("\n")
    );
}
