//! Rules of the source tree: import direction, cycles, type names, closures, dependencies and file
//! sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::source_tree::SourceTree;

/// The folders of `src`, lowest first. A folder imports from lower lines only; folders on one line
/// do not import each other.
const LAYERS: &[&[&str]] = &[
    &["text"],
    &["domain"],
    &["process"],
    &["metrics", "extract", "render", "store", "telemetry"],
    &["fetch", "config"],
    &["auth"],
    &["aggregate"],
    &["replicas", "server"],
    &["panel"],
    &["api"],
    &["simulator"],
    &["app"],
    &["cli"],
    &["main.rs", "lib.rs"],
];

/// The folders or files that may name a dependency.
const DEPENDENCY_OWNERS: &[(&str, &[&str])] = &[
    ("reqwest", &["fetch"]),
    ("axum", &["server", "api", "app", "simulator"]),
    ("hyper", &["fetch", "server", "api", "app", "simulator"]),
    ("redis", &["config", "replicas"]),
    ("arc_swap", &["aggregate/cache.rs"]),
    ("encoding_rs", &["extract", "fetch"]),
    ("jaq_core", &["extract"]),
    ("jaq_json", &["extract"]),
    ("jaq_std", &["extract"]),
    ("quick_xml", &["extract"]),
    ("scraper", &["extract", "fetch"]),
    ("toml", &["config"]),
    ("annotate_snippets", &["config"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
];

/// The files that read a clock: `process_stats` reads the CPU time, which is no time of day.
const CLOCK_OWNERS: &[&str] = &["process/clock.rs", "metrics/process_stats.rs"];

/// The calls that read a clock.
const CLOCK_CALLS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "clock_gettime",
];

/// The files that may hold a boxed closure: tests replace the lookup of the resolver, and the jobs
/// of the evaluation threads are private to their file.
const CLOSURE_OWNERS: &[&str] = &["fetch/resolver.rs", "extract/threads.rs"];

const MAX_FILE_LINES: usize = 400;

/// The place of a folder in `LAYERS`.
fn layer_of(folder: &str) -> usize {
    let known = LAYERS.iter().position(|layer| layer.contains(&folder));
    known.unwrap_or_else(|| panic!("src/{folder} is missing in LAYERS (tests/it/architecture.rs)"))
}

fn assert_none(violations: impl IntoIterator<Item = String>, advice: &str) {
    let listed: BTreeSet<String> = violations.into_iter().collect();
    let lines = Vec::from_iter(listed).join("\n");
    assert!(lines.is_empty(), "{advice}\n{lines}");
}

#[test]
fn imports_point_down() {
    let tree = SourceTree::load();
    let arrows = tree.arrows();
    assert!(
        arrows.len() > tree.files.len(),
        "too few imports are resolved: see tests/support/source_tree.rs"
    );
    let upward = arrows.iter().filter(|arrow| {
        let from = tree.files[arrow.from].folder();
        let to = tree.files[arrow.to].folder();
        from != to && layer_of(from) <= layer_of(to)
    });
    assert_none(
        upward.map(|arrow| tree.describe(arrow)),
        "Imports between folders that point up or sideways in LAYERS: move the name to the lower \
         folder, or pass a value or a trait of the lower folder:",
    );
}

#[test]
fn files_form_no_cycle() {
    assert_none(
        SourceTree::load().describe_cycles(),
        "Files that import each other: move the shared name to the lower file, or to a new file \
         below both:",
    );
}

#[test]
fn type_names_are_unique() {
    let tree = SourceTree::load();
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in &tree.files {
        for (name, keyword) in &file.definitions {
            if ["struct", "enum", "trait", "type", "union"].contains(&&**keyword) {
                places.entry(name).or_default().push(&file.path);
            }
        }
    }
    let shared = places.iter().filter(|(_, files)| files.len() > 1);
    assert_none(
        shared.map(|(name, files)| format!("{name}: {}", files.join(", "))),
        "Types of different files that share a name: rename all but one after their roles:",
    );
}

#[test]
fn modules_share_no_boxed_closures() {
    let tree = SourceTree::load();
    let checked = tree
        .files
        .iter()
        .filter(|file| !CLOSURE_OWNERS.contains(&&*file.path));
    let lines = checked.flat_map(|file| {
        let describe = move |line| format!("{}:{line}", file.path);
        file.boxed_closure_lines.iter().map(describe)
    });
    assert_none(
        lines,
        "Boxed closures (`Arc|Box|Rc<dyn Fn…>`): pass the value that the closure captures, or \
         return a value:",
    );
}

#[test]
fn dependencies_stay_in_their_folders() {
    let tree = SourceTree::load();
    let misplaced = tree.external_paths().filter_map(|(file, path, line)| {
        let is_named = |(name, _): &&(&str, &[&str])| *name == path[0];
        let (name, owners) = DEPENDENCY_OWNERS.iter().find(is_named)?;
        let is_owned = owners.contains(&file.folder()) || owners.contains(&&*file.path);
        let owners = owners.join(", ");
        (!is_owned).then(|| format!("{}:{line} names {name} (only for {owners})", file.path))
    });
    assert_none(
        misplaced,
        "Dependencies named outside of their folders: call the owning folder instead:",
    );
}

#[test]
fn clocks_are_read_in_one_place() {
    let tree = SourceTree::load();
    let reads = tree.external_paths().filter_map(|(file, path, line)| {
        let path = path.join("::");
        let is_read = CLOCK_CALLS.iter().any(|call| path.ends_with(call));
        let is_owner = CLOCK_OWNERS.contains(&&*file.path);
        (is_read && !is_owner).then(|| format!("{}:{line} {path}", file.path))
    });
    assert_none(
        reads,
        "Clocks read outside of process/clock.rs: take a `Clock`, or a time as an argument:",
    );
}

#[test]
fn only_the_roots_stand_in_src() {
    let tree = SourceTree::load();
    let is_loose =
        |path: &&String| !path.contains('/') && !["main.rs", "lib.rs"].contains(&&***path);
    let paths = tree.files.iter().map(|file| &file.path);
    assert_none(
        paths.filter(is_loose).cloned(),
        "Files directly in src: move them into the folder of their concept:",
    );
}

#[test]
fn files_stay_short() {
    let tree = SourceTree::load();
    let long = tree
        .files
        .iter()
        .filter(|file| file.line_count > MAX_FILE_LINES);
    assert_none(
        long.map(|file| format!("{}: {} lines", file.path, file.line_count)),
        "Files over 400 lines: split them by concept:",
    );
}

/// The walks in `src/lib.rs`, each with its greatest number of files. Files of `fetch` do not count
/// in the walk of a live request.
const WALKS: [(&str, usize); 4] = [
    ("A provider's byte", 30),
    ("A configuration value", 12),
    ("A live request", 14),
    ("A counter", 6),
];

#[test]
fn walks_name_existing_functions() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    let (_, walks) = map.split_once("//! # Walks").unwrap();
    for (name, max_files) in WALKS {
        let (_, walk) = walks.split_once(&format!("**{name}**")).unwrap();
        let walk = walk.split("//! **").next().unwrap();
        let steps: Vec<&str> = walk
            .split('`')
            .filter(|code| code.contains(".rs"))
            .collect();
        assert!(steps.len() > 3, "{name}: too few steps are read");
        let mut files = BTreeSet::new();
        for step in steps {
            let (file, function) = step.split_once(':').unwrap_or((step, ""));
            let text = std::fs::read_to_string(src.join(file)).unwrap_or_default();
            let is_defined = [format!("fn {function}("), format!("fn {function}<")]
                .iter()
                .any(|head| text.contains(head));
            assert!(
                is_defined,
                "{name}: src/{file} has no function `{function}`"
            );
            assert!(files.insert(file), "{name}: names {file} twice");
        }
        if name == "A live request" {
            files.retain(|file| !file.starts_with("fetch/"));
        }
        let count = files.len();
        assert!(count <= max_files, "{name}: {count} files of {max_files}");
    }
}
