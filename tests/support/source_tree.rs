//! All source files of the program, and for each name the file that defines it.
//!
//! Re-exports are followed to the defining file. Types of values are not inferred: a method call
//! counts as no use of the file that defines the method.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use super::source_file::{Import, SourceFile};

/// The imports and paths in one file that lead to another.
#[derive(Clone)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    /// Of the first one.
    line: usize,
    names: BTreeSet<String>,
}

/// Every file below `src`.
pub struct SourceTree {
    pub files: Vec<SourceFile>,
    modules: HashMap<Vec<String>, usize>,
}

impl SourceTree {
    pub fn load() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = list_rust_files(&src);
        paths.sort();
        let files: Vec<_> = paths
            .iter()
            .map(|path| SourceFile::parse(&src, path))
            .collect();
        let modules = files
            .iter()
            .enumerate()
            .map(|(index, file)| (file.module.clone(), index))
            .collect();
        Self { files, modules }
    }

    /// The file that defines `path` as written in `module`; `None` for another crate's name.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" | "resumen" => &[],
            "self" => module,
            "super" => &module[..module.len().checked_sub(1)?],
            _ => return self.look_up(module, path, false, depth),
        };
        match rest.first().map(String::as_str) {
            None => self.modules.get(start).copied(),
            Some("super") => self.resolve(start, rest, depth),
            Some(_) => self.look_up(start, rest, true, depth),
        }
    }

    /// Follows `path` from a module of the crate. A name that only a macro defines belongs to the
    /// module itself.
    fn look_up(
        &self,
        module: &[String],
        path: &[String],
        is_of_crate: bool,
        depth: usize,
    ) -> Option<usize> {
        // A glob import of a module that imports back would never end.
        if depth > 16 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let index = *self.modules.get(module)?;
        let child = [module, std::slice::from_ref(first)].concat();
        if let Some(&found) = self.modules.get(&child) {
            return if rest.is_empty() {
                Some(found)
            } else {
                self.look_up(&child, rest, true, depth)
            };
        }
        let file = &self.files[index];
        if file.definitions.contains_key(first) {
            return Some(index);
        }
        let named = file.imports.iter().find(|import| import.name == *first);
        if let Some(import) = named {
            let whole = [&import.target[..], rest].concat();
            // `use redis;` names the dependency, not this import again.
            return (whole != path)
                .then(|| self.resolve(module, &whole, depth + 1))
                .flatten();
        }
        let mut globs = file.imports.iter().filter(|import| import.name == "*");
        let through_glob = |import: &Import| {
            let whole = [&import.target[..import.target.len() - 1], path].concat();
            self.resolve(module, &whole, depth + 1)
        };
        let found = globs.find_map(through_glob);
        found.or(is_of_crate.then_some(index))
    }

    /// One arrow for each pair of files. A re-export within a folder counts only where its file uses
    /// the name.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: BTreeMap<(usize, usize), Arrow> = BTreeMap::new();
        for (from, file) in self.files.iter().enumerate() {
            let imports = file.imports.iter().map(|import| {
                let is_facade = import.is_reexport && !file.identifiers.contains(&import.name);
                (&import.target, import.line, is_facade)
            });
            let references = file
                .references
                .iter()
                .map(|(path, line)| (path, *line, false));
            for (path, line, is_facade) in imports.chain(references) {
                let Some(to) = self.resolve(&file.module, path, 0) else {
                    continue;
                };
                let is_same_folder = self.files[to].folder() == file.folder();
                if to != from && !(is_facade && is_same_folder) {
                    let empty = || Arrow {
                        from,
                        to,
                        line,
                        names: BTreeSet::new(),
                    };
                    let arrow = arrows.entry((from, to)).or_insert_with(empty);
                    arrow.names.insert(path.last().unwrap().clone());
                }
            }
        }
        arrows.into_values().collect()
    }

    pub fn describe(&self, arrow: &Arrow) -> String {
        let (from, to) = (&self.files[arrow.from].path, &self.files[arrow.to].path);
        let names: Vec<_> = arrow.names.iter().map(String::as_str).collect();
        format!("{from}:{} → {to} ({})", arrow.line, names.join(", "))
    }

    /// Describes each group of files that depend on each other: a shortest cycle and all arrows.
    pub fn describe_cycles(&self) -> Vec<String> {
        let arrows = self.arrows();
        let mut targets = vec![BTreeSet::new(); self.files.len()];
        for arrow in &arrows {
            targets[arrow.from].insert(arrow.to);
        }
        let search = |start| search_breadth_first(&targets, start);
        let reachable: Vec<_> = (0..targets.len()).map(search).collect();
        let mut cycles = Vec::new();
        for file in 0..targets.len() {
            let is_mutual = |other: usize| {
                reachable[file].contains_key(&other) && reachable[other].contains_key(&file)
            };
            // Each file of a group finds the same group; its first file reports it.
            if !is_mutual(file) || (0..file).any(is_mutual) {
                continue;
            }
            let mut cycle = vec![self.files[file].path.as_str()];
            let mut previous = reachable[file][&file];
            while previous != file {
                cycle.push(&self.files[previous].path);
                previous = reachable[file][&previous];
            }
            cycle.push(cycle[0]);
            cycle.reverse();
            let mut text = format!("{}; the arrows of its group:", cycle.join(" → "));
            for arrow in arrows
                .iter()
                .filter(|arrow| is_mutual(arrow.from) && is_mutual(arrow.to))
            {
                text = text + "\n    " + &self.describe(arrow);
            }
            cycles.push(text);
        }
        cycles
    }

    /// Every path that a file names and the crate does not define: the file, the path, and its line.
    pub fn external_paths<'a>(
        &'a self,
    ) -> impl Iterator<Item = (&'a SourceFile, &'a [String], usize)> {
        let of_file = |file: &'a SourceFile| {
            let imports = file
                .imports
                .iter()
                .map(|import| (&import.target[..], import.line));
            let references = file
                .references
                .iter()
                .map(|(path, line)| (&path[..], *line));
            imports
                .chain(references)
                .map(move |(path, line)| (file, path, line))
        };
        let is_external = |(file, path, _): &(&SourceFile, &[String], usize)| {
            self.resolve(&file.module, path, 0).is_none()
        };
        self.files.iter().flat_map(of_file).filter(is_external)
    }
}

fn list_rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                list_rust_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// Every file that `start` leads to, each with the file before it on a shortest way.
fn search_breadth_first(targets: &[BTreeSet<usize>], start: usize) -> HashMap<usize, usize> {
    let mut previous = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for &next in &targets[file] {
            if let Entry::Vacant(vacant) = previous.entry(next) {
                vacant.insert(file);
                queue.push_back(next);
            }
        }
    }
    previous
}
