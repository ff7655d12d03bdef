//! The files of the page, compiled in, under a name that changes with any of them.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::render::EncodedBodies;

/// Where the page's text names the version of its files.
const VERSION_PLACEHOLDER: &str = "{version}";

const INDEX_HTML: &str = include_str!("page/panel.html");

const CSS_TYPE: &str = "text/css; charset=utf-8";
const JAVASCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal: $kind:ident,)*) => {
        /// Name, type and text of each file.
        const ASSET_FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("page/", $name))),)*];
    };
}

files! {
    "panel.css": CSS_TYPE,
    "card.css": CSS_TYPE,
    "values.css": CSS_TYPE,
    "panel.js": JAVASCRIPT_TYPE,
    "answer.js": JAVASCRIPT_TYPE,
    "card.js": JAVASCRIPT_TYPE,
    "clock.js": JAVASCRIPT_TYPE,
    "dom.js": JAVASCRIPT_TYPE,
    "feed.js": JAVASCRIPT_TYPE,
    "fit.js": JAVASCRIPT_TYPE,
    "icons.js": JAVASCRIPT_TYPE,
    "json.js": JAVASCRIPT_TYPE,
    "measure.js": JAVASCRIPT_TYPE,
    "plan.js": JAVASCRIPT_TYPE,
    "round.js": JAVASCRIPT_TYPE,
    "spark.js": JAVASCRIPT_TYPE,
    "upgrade.js": JAVASCRIPT_TYPE,
    "values.js": JAVASCRIPT_TYPE,
    "verdict.js": JAVASCRIPT_TYPE,
    "words.js": JAVASCRIPT_TYPE,
}

/// The page and its files, ready to be sent.
pub(crate) struct PanelAssets {
    /// A hash over all files: part of their paths, and the page's entity tag.
    pub(crate) version: String,
    /// The page itself.
    pub(crate) index: PanelAsset,
    assets: Vec<(&'static str, PanelAsset)>,
}

/// One file and its coded forms.
#[derive(Debug)]
pub(crate) struct PanelAsset {
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    pub(crate) forms: EncodedBodies,
}

impl PanelAssets {
    /// The page as it was compiled in.
    pub(crate) fn new() -> Self {
        let version = hash_assets();
        let front = PanelAsset::new(
            "text/html; charset=utf-8",
            INDEX_HTML.replace(VERSION_PLACEHOLDER, &version).into(),
        );
        let files = ASSET_FILES.iter().map(|(name, kind, text)| {
            (
                *name,
                PanelAsset::new(kind, Bytes::from_static(text.as_bytes())),
            )
        });
        Self {
            index: front,
            assets: files.collect(),
            version,
        }
    }

    /// The names of the files.
    pub(crate) fn asset_names(&self) -> impl Iterator<Item = &'static str> {
        self.assets.iter().map(|(name, _)| *name)
    }

    /// The file of this name.
    pub(crate) fn find_asset(&self, name: &str) -> Option<&PanelAsset> {
        self.assets
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, file)| file)
    }
}

impl PanelAsset {
    pub(crate) fn new(kind: &'static str, body: Bytes) -> Self {
        Self {
            content_type: kind,
            body,
            forms: EncodedBodies::default(),
        }
    }
}

fn hash_assets() -> String {
    let mut hash = Xxh3::new();
    hash.update(INDEX_HTML.as_bytes());
    for (name, _, text) in ASSET_FILES {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    format!("{:016x}", hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_files_are_served() {
        let page = PanelAssets::new();
        let mut imports = 0;
        for (name, _, text) in ASSET_FILES
            .iter()
            .filter(|(_, kind, _)| *kind == JAVASCRIPT_TYPE)
        {
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let target = line
                    .split('"')
                    .nth(1)
                    .and_then(|path| path.strip_prefix("./"));
                assert!(
                    target.is_some_and(|target| page.find_asset(target).is_some()),
                    "{name}: {line}"
                );
                imports += 1;
            }
        }
        assert!(imports > ASSET_FILES.len());
    }

    #[test]
    fn page_links_are_versioned() {
        let page = PanelAssets::new();
        let text = std::str::from_utf8(&page.index.body).unwrap();
        assert!(!text.contains(VERSION_PLACEHOLDER));
        for name in ["panel.css", "card.css", "values.css", "panel.js"] {
            assert!(
                text.contains(&format!("\"panel/{}/{name}\"", page.version)),
                "{text}"
            );
        }
    }

    #[test]
    fn assets_have_no_markup_or_urls() {
        for (name, _, text) in ASSET_FILES {
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
