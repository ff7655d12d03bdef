//! The files of the page, embedded in the program. Their paths contain a version that changes with
//! any of the files.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::render::EncodedBodies;

/// Placeholders in the text of a page: for the version of its files, and for the release of the program.
const VERSION_PLACEHOLDER: &str = "{version}";
const RELEASE_PLACEHOLDER: &str = "{release}";

const INDEX_HTML: &str = include_str!("page/panel.html");
const SOURCE_HTML: &str = include_str!("page/source.html");

const CSS_TYPE: &str = "text/css; charset=utf-8";
const JAVASCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal: $content_type:ident,)*) => {
        /// Name, content type and text of each file.
        const ASSET_FILES: &[(&str, &str, &str)] = &[$(($name, $content_type, include_str!(concat!("page/", $name))),)*];
    };
}

files! {
    "panel.css": CSS_TYPE,
    "card.css": CSS_TYPE,
    "values.css": CSS_TYPE,
    "source.css": CSS_TYPE,
    "panel.js": JAVASCRIPT_TYPE,
    "address.js": JAVASCRIPT_TYPE,
    "answer.js": JAVASCRIPT_TYPE,
    "block.js": JAVASCRIPT_TYPE,
    "card.js": JAVASCRIPT_TYPE,
    "chart.js": JAVASCRIPT_TYPE,
    "clock.js": JAVASCRIPT_TYPE,
    "dom.js": JAVASCRIPT_TYPE,
    "feed.js": JAVASCRIPT_TYPE,
    "fit.js": JAVASCRIPT_TYPE,
    "footer.js": JAVASCRIPT_TYPE,
    "groups.js": JAVASCRIPT_TYPE,
    "icons.js": JAVASCRIPT_TYPE,
    "json.js": JAVASCRIPT_TYPE,
    "keys.js": JAVASCRIPT_TYPE,
    "leaf.js": JAVASCRIPT_TYPE,
    "appearances.js": JAVASCRIPT_TYPE,
    "measure.js": JAVASCRIPT_TYPE,
    "numbers.js": JAVASCRIPT_TYPE,
    "plan.js": JAVASCRIPT_TYPE,
    "providers.js": JAVASCRIPT_TYPE,
    "round.js": JAVASCRIPT_TYPE,
    "source.js": JAVASCRIPT_TYPE,
    "spark.js": JAVASCRIPT_TYPE,
    "times.js": JAVASCRIPT_TYPE,
    "trouble.js": JAVASCRIPT_TYPE,
    "upgrade.js": JAVASCRIPT_TYPE,
    "values.js": JAVASCRIPT_TYPE,
    "verdict.js": JAVASCRIPT_TYPE,
    "words.js": JAVASCRIPT_TYPE,
}

/// The page and its files.
pub(crate) struct PanelAssets {
    /// Hash over all files: part of their paths, and the page's entity tag.
    pub(crate) version: String,
    /// The page, with the version filled in.
    pub(crate) index: PanelAsset,
    /// The page of one source, the same for all of them.
    pub(crate) source_page: PanelAsset,
    assets: Vec<(&'static str, PanelAsset)>,
}

/// A file and its encoded forms.
#[derive(Debug)]
pub(crate) struct PanelAsset {
    pub(crate) content_type: &'static str,
    pub(crate) forms: Arc<EncodedBodies>,
}

impl PanelAssets {
    /// The embedded page.
    pub(crate) fn new() -> Self {
        let version = hash_assets();
        let page = |html: &str| {
            let html = html.replace(VERSION_PLACEHOLDER, &version);
            let html = html.replace(RELEASE_PLACEHOLDER, env!("CARGO_PKG_VERSION"));
            PanelAsset::new("text/html; charset=utf-8", html.into())
        };
        let assets = ASSET_FILES.iter().map(|(name, content_type, text)| {
            let body = Bytes::from_static(text.as_bytes());
            (*name, PanelAsset::new(content_type, body))
        });
        Self {
            index: page(INDEX_HTML),
            source_page: page(SOURCE_HTML),
            assets: assets.collect(),
            version,
        }
    }

    /// Names of the files.
    pub(crate) fn asset_names(&self) -> impl Iterator<Item = &'static str> {
        self.assets.iter().map(|(name, _)| *name)
    }

    /// The file with this name.
    pub(crate) fn find_asset(&self, name: &str) -> Option<&PanelAsset> {
        self.assets
            .iter()
            .find(|(asset_name, _)| *asset_name == name)
            .map(|(_, asset)| asset)
    }
}

impl PanelAsset {
    /// A file that is encoded on demand.
    pub(super) fn new(content_type: &'static str, body: Bytes) -> Self {
        Self {
            content_type,
            forms: Arc::new(EncodedBodies::new(body)),
        }
    }
}

fn hash_assets() -> String {
    let mut hasher = Xxh3::new();
    hasher.update(INDEX_HTML.as_bytes());
    hasher.update(SOURCE_HTML.as_bytes());
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    for (name, _, text) in ASSET_FILES {
        hasher.update(name.as_bytes());
        hasher.update(text.as_bytes());
    }
    format!("{:016x}", hasher.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_files_are_served() {
        let assets = PanelAssets::new();
        let mut imports = 0;
        for (name, _, text) in ASSET_FILES
            .iter()
            .filter(|(_, content_type, _)| *content_type == JAVASCRIPT_TYPE)
        {
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let target = line
                    .split('"')
                    .nth(1)
                    .and_then(|path| path.strip_prefix("./"));
                assert!(
                    target.is_some_and(|target| assets.find_asset(target).is_some()),
                    "{name}: {line}"
                );
                imports += 1;
            }
        }
        assert!(imports > ASSET_FILES.len());
    }

    #[test]
    fn page_links_are_versioned() {
        let assets = PanelAssets::new();
        let pages = [
            (&assets.index, "", "panel.css card.css values.css panel.js"),
            (&assets.source_page, "../", "panel.css source.css source.js"),
        ];
        for (page, root, names) in pages {
            let text = std::str::from_utf8(page.forms.body()).unwrap();
            assert!(!text.contains(VERSION_PLACEHOLDER));
            for name in names.split(' ') {
                let link = format!("\"{root}panel/{}/{name}\"", assets.version);
                assert!(text.contains(&link), "{text}");
            }
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
