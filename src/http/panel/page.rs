//! The files of the page, compiled in, under a name that changes with any of them.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::render::Forms;

/// Where the page's text names the version of its files.
const VERSION: &str = "{version}";

const FRONT: &str = include_str!("page/panel.html");

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal: $kind:ident,)*) => {
        /// Name, type and text of each file.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("page/", $name))),)*];
    };
}

files! {
    "panel.css": STYLE,
    "card.css": STYLE,
    "values.css": STYLE,
    "panel.js": SCRIPT,
    "answer.js": SCRIPT,
    "card.js": SCRIPT,
    "clock.js": SCRIPT,
    "dom.js": SCRIPT,
    "feed.js": SCRIPT,
    "fit.js": SCRIPT,
    "icons.js": SCRIPT,
    "json.js": SCRIPT,
    "measure.js": SCRIPT,
    "plan.js": SCRIPT,
    "round.js": SCRIPT,
    "spark.js": SCRIPT,
    "upgrade.js": SCRIPT,
    "values.js": SCRIPT,
    "verdict.js": SCRIPT,
    "words.js": SCRIPT,
}

/// The page and its files, ready to be sent.
pub(in crate::http) struct Page {
    /// A hash over all files: part of their paths, and the page's entity tag.
    pub(super) version: String,
    /// The page itself.
    pub(super) front: File,
    files: Vec<(&'static str, File)>,
}

/// One file and its coded forms.
#[derive(Debug)]
pub(super) struct File {
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
    pub(super) forms: Forms,
}

impl Page {
    /// The page as it was compiled in.
    pub(in crate::http) fn new() -> Self {
        let version = version();
        let front = File::new(
            "text/html; charset=utf-8",
            FRONT.replace(VERSION, &version).into(),
        );
        let files = FILES.iter().map(|(name, kind, text)| {
            (*name, File::new(kind, Bytes::from_static(text.as_bytes())))
        });
        Self {
            front,
            files: files.collect(),
            version,
        }
    }

    /// The names of the files.
    pub(in crate::http) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// The file of this name.
    pub(super) fn file(&self, name: &str) -> Option<&File> {
        self.files
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, file)| file)
    }
}

impl File {
    pub(super) fn new(kind: &'static str, body: Bytes) -> Self {
        Self {
            kind,
            body,
            forms: Forms::default(),
        }
    }
}

fn version() -> String {
    let mut hash = Xxh3::new();
    hash.update(FRONT.as_bytes());
    for (name, _, text) in FILES {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    format!("{:016x}", hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_names_a_file_that_is_served() {
        let page = Page::new();
        let mut imports = 0;
        for (name, _, text) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let target = line
                    .split('"')
                    .nth(1)
                    .and_then(|path| path.strip_prefix("./"));
                assert!(
                    target.is_some_and(|target| page.file(target).is_some()),
                    "{name}: {line}"
                );
                imports += 1;
            }
        }
        assert!(imports > FILES.len());
    }

    #[test]
    fn the_page_names_its_files_by_version() {
        let page = Page::new();
        let text = std::str::from_utf8(&page.front.body).unwrap();
        assert!(!text.contains(VERSION));
        for name in ["panel.css", "card.css", "values.css", "panel.js"] {
            assert!(
                text.contains(&format!("\"panel/{}/{name}\"", page.version)),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_in_the_page_writes_markup_or_calls_elsewhere() {
        for (name, _, text) in FILES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "https://",
                "url(",
            ] {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }
}
