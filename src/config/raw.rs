//! The file as it is written: every known key with its type and its place, nothing inherited, nothing related.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeTable;

use super::context::Context;
use super::section::{Section, Spot, Text, quote};

const TOP: &[&str] = &["server", "store", "defaults", "sources", "derived"];
const SERVER: &[&str] = &[
    "listen",
    "default_timeout",
    "max_timeout",
    "max_connections",
    "header_timeout",
    "idle_timeout",
    "shutdown_grace",
    "cors_origins",
];
const STORE: &[&str] = &["path", "redis", "redis_prefix"];
const TIMING: &[&str] = &[
    "interval",
    "timeout",
    "ttl",
    "max_stale",
    "min_interval",
    "max_body",
    "proxy",
];
const REQUEST: &[&str] = &[
    "url",
    "method",
    "headers",
    "body",
    "extract",
    "allow_private",
    "ca_file",
];
const SOURCE_ONLY: &[&str] = &["providers", "hedge_after", "attribution"];
const DERIVED: &[&str] = &["from", "extract", "attribution"];

/// The most bytes that `max_body` may allow.
const MOST_BODY: u64 = 1 << 30;

/// The whole file.
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) store: RawStore,
    pub(super) defaults: RawTiming,
    pub(super) sources: Vec<RawSource>,
    pub(super) derived: Vec<RawDerived>,
    /// Where `[sources]` begins; the file's beginning if there is none.
    pub(super) sources_span: Range<usize>,
    /// Whether something stands in `[sources]`, valid or not.
    pub(super) has_sources: bool,
}

impl Raw {
    /// Every filter that is written.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Text> {
        let listed = self
            .sources
            .iter()
            .filter_map(|source| source.providers.as_ref());
        let of_providers = listed
            .flat_map(|listed| &listed.value)
            .map(|provider| &provider.request);
        let of_sources = self.sources.iter().map(|source| &source.request);
        let of_derived = self
            .derived
            .iter()
            .filter_map(|derived| derived.extract.as_ref());
        of_sources
            .chain(of_providers)
            .filter_map(|request| request.extract.as_ref())
            .chain(of_derived)
    }
}

/// `[server]`
#[derive(Default)]
pub(super) struct RawServer {
    pub(super) listen: Option<Text>,
    pub(super) default_timeout: Option<Spot<Duration>>,
    pub(super) max_timeout: Option<Spot<Duration>>,
    pub(super) max_connections: Option<u64>,
    pub(super) header_timeout: Option<Spot<Duration>>,
    pub(super) idle_timeout: Option<Spot<Duration>>,
    pub(super) shutdown_grace: Option<Spot<Duration>>,
    pub(super) cors_origins: Option<Spot<Vec<Text>>>,
    /// Whether one of the two timeouts is written but is no duration.
    pub(super) broken: bool,
}

/// `[store]`
#[derive(Default)]
pub(super) struct RawStore {
    pub(super) path: Option<Text>,
    pub(super) redis: Option<Text>,
    pub(super) redis_prefix: Option<Text>,
}

/// What `[defaults]` and a source may say about when and how much.
#[derive(Default)]
pub(super) struct RawTiming {
    pub(super) interval: Option<Spot<Duration>>,
    pub(super) timeout: Option<Spot<Duration>>,
    pub(super) ttl: Option<Spot<Duration>>,
    pub(super) max_stale: Option<Spot<Duration>>,
    pub(super) min_interval: Option<Spot<Duration>>,
    pub(super) max_body: Option<Spot<u64>>,
    pub(super) proxy: Option<Text>,
    /// Whether a duration is written that is none, so that the others cannot be related to it.
    pub(super) broken: bool,
}

/// What a source or one of its providers may say about its request.
#[derive(Default)]
pub(super) struct RawRequest {
    pub(super) url: Option<Text>,
    /// Whether `url` is written at all, valid or not.
    pub(super) has_url: bool,
    pub(super) method: Option<Text>,
    pub(super) headers: Vec<(Spot<String>, Text)>,
    pub(super) body: Option<Text>,
    pub(super) extract: Option<Text>,
    pub(super) allow_private: Option<bool>,
    pub(super) ca_file: Option<Text>,
}

/// `[[sources.NAME.providers]]`
pub(super) struct RawProvider {
    pub(super) span: Range<usize>,
    pub(super) name: Option<Text>,
    pub(super) request: RawRequest,
}

/// `[sources.NAME]`
pub(super) struct RawSource {
    pub(super) name: Spot<String>,
    /// Where its table begins.
    pub(super) span: Range<usize>,
    pub(super) request: RawRequest,
    pub(super) timing: RawTiming,
    pub(super) providers: Option<Spot<Vec<RawProvider>>>,
    /// Whether `providers` is written but is no list of tables.
    pub(super) providers_broken: bool,
    pub(super) hedge_after: Option<Spot<Duration>>,
    pub(super) attribution: Option<Text>,
}

/// `[derived.NAME]`
pub(super) struct RawDerived {
    pub(super) name: Spot<String>,
    /// Where its table begins.
    pub(super) span: Range<usize>,
    pub(super) from: Option<Spot<Vec<Text>>>,
    /// Whether `from` is written at all, valid or not.
    pub(super) has_from: bool,
    pub(super) extract: Option<Text>,
    pub(super) attribution: Option<Text>,
}

/// Reads the file's tree.
pub(super) fn read(tree: &DeTable<'_>, cx: &mut Context<'_>) -> Raw {
    let top = Section::new(tree, "at the top".into(), TOP, &mut cx.problems);
    let has_sources = tree
        .get("sources")
        .is_some_and(|found| found.get_ref().as_table().is_none_or(|t| !t.is_empty()));
    let sources_span = tree.get("sources").map_or(0..0, toml::Spanned::span);
    Raw {
        server: plain(&top, "server", SERVER, cx, server),
        store: plain(&top, "store", STORE, cx, store),
        defaults: plain(&top, "defaults", TIMING, cx, timing),
        sources: named(&top, "source", "sources", cx, source),
        derived: named(&top, "derived source", "derived", cx, derived),
        sources_span,
        has_sources,
    }
}

/// Where a key that stands in the wrong table belongs.
pub(super) fn home_of(key: &str) -> Option<&'static str> {
    match key {
        _ if SERVER.contains(&key) => Some("in `[server]`"),
        _ if STORE.contains(&key) => Some("in `[store]`"),
        _ if TIMING.contains(&key) => Some("in `[defaults]` or in a source"),
        _ if REQUEST.contains(&key) => Some("in a source or in one of its providers"),
        _ if SOURCE_ONLY.contains(&key) => Some("in a source"),
        "from" => Some("in a derived source"),
        "name" => Some("in a provider"),
        _ if TOP.contains(&key) => Some("at the top"),
        _ => None,
    }
}

fn plain<T: Default>(
    top: &Section<'_, '_>,
    key: &str,
    keys: &[&str],
    cx: &mut Context<'_>,
    read: fn(&Section<'_, '_>, &mut Context<'_>) -> T,
) -> T {
    let Some(table) = top.table(key, cx) else {
        return T::default();
    };
    let section = Section::new(table.value, format!("in `[{key}]`"), keys, &mut cx.problems);
    read(&section, cx)
}

fn named<T>(
    top: &Section<'_, '_>,
    what: &str,
    key: &str,
    cx: &mut Context<'_>,
    read: fn(Spot<String>, Spot<&DeTable<'_>>, &mut Context<'_>) -> T,
) -> Vec<T> {
    let Some(table) = top.table(key, cx) else {
        return Vec::new();
    };
    let section = Section::open(table.value, format!("in `[{key}]`"));
    section
        .named_tables(what, cx)
        .into_iter()
        .map(|(name, table)| read(name, table, cx))
        .collect()
}

fn server(section: &Section<'_, '_>, cx: &mut Context<'_>) -> RawServer {
    let mut raw = RawServer {
        listen: section.text("listen", cx),
        default_timeout: section.duration("default_timeout", cx),
        max_timeout: section.duration("max_timeout", cx),
        max_connections: section.integer("max_connections", 1, 1_000_000, cx),
        header_timeout: section.duration("header_timeout", cx),
        idle_timeout: section.duration("idle_timeout", cx),
        shutdown_grace: section.duration_or_zero("shutdown_grace", cx),
        cors_origins: section.texts("cors_origins", cx),
        broken: false,
    };
    raw.broken = (section.has("default_timeout") && raw.default_timeout.is_none())
        || (section.has("max_timeout") && raw.max_timeout.is_none());
    raw
}

fn store(section: &Section<'_, '_>, cx: &mut Context<'_>) -> RawStore {
    RawStore {
        path: section.text("path", cx),
        redis: section.text("redis", cx),
        redis_prefix: section.text("redis_prefix", cx),
    }
}

fn timing(section: &Section<'_, '_>, cx: &mut Context<'_>) -> RawTiming {
    let mut raw = RawTiming {
        interval: section.duration("interval", cx),
        timeout: section.duration("timeout", cx),
        ttl: section.duration("ttl", cx),
        max_stale: section.duration_or_zero("max_stale", cx),
        min_interval: section.duration_or_zero("min_interval", cx),
        max_body: section.size("max_body", MOST_BODY, cx),
        proxy: section.text("proxy", cx),
        broken: false,
    };
    let durations = [
        &raw.interval,
        &raw.timeout,
        &raw.ttl,
        &raw.max_stale,
        &raw.min_interval,
    ];
    raw.broken = TIMING
        .iter()
        .zip(durations)
        .any(|(key, read)| section.has(key) && read.is_none());
    raw
}

fn request(section: &Section<'_, '_>, cx: &mut Context<'_>) -> RawRequest {
    let headers = section.table("headers", cx).map(|table| {
        let place = format!("among the headers {}", section.place);
        Section::open(table.value, place).headers(cx)
    });
    RawRequest {
        url: section.text("url", cx),
        has_url: section.has("url"),
        method: section.text("method", cx),
        headers: headers.unwrap_or_default(),
        body: section.text("body", cx),
        extract: section.literal("extract", cx),
        allow_private: section.boolean("allow_private", cx),
        ca_file: section.text("ca_file", cx),
    }
}

fn source(name: Spot<String>, table: Spot<&DeTable<'_>>, cx: &mut Context<'_>) -> RawSource {
    let keys = [REQUEST, TIMING, SOURCE_ONLY].concat();
    let place = format!("in source {}", quote(&name.value));
    let section = Section::new(table.value, place, &keys, &mut cx.problems);
    let providers = section.tables("providers", cx).map(|tables| Spot {
        value: tables
            .value
            .into_iter()
            .map(|table| provider(&name.value, table, cx))
            .collect(),
        span: tables.span,
    });
    RawSource {
        request: request(&section, cx),
        timing: timing(&section, cx),
        providers_broken: section.has("providers") && providers.is_none(),
        providers,
        hedge_after: section.duration_or_zero("hedge_after", cx),
        attribution: section.text("attribution", cx),
        span: table.span,
        name,
    }
}

fn provider(source: &str, table: Spot<&DeTable<'_>>, cx: &mut Context<'_>) -> RawProvider {
    let keys = [&["name"], REQUEST].concat();
    let place = format!("in a provider of source {}", quote(source));
    let section = Section::new(table.value, place, &keys, &mut cx.problems);
    RawProvider {
        name: section.text("name", cx),
        request: request(&section, cx),
        span: table.span,
    }
}

fn derived(name: Spot<String>, table: Spot<&DeTable<'_>>, cx: &mut Context<'_>) -> RawDerived {
    let place = format!("in derived source {}", quote(&name.value));
    let section = Section::new(table.value, place, DERIVED, &mut cx.problems);
    RawDerived {
        from: section.texts("from", cx),
        has_from: section.has("from"),
        extract: section.literal("extract", cx),
        attribution: section.text("attribution", cx),
        span: table.span,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_key() {
        let reference = include_str!("../../config/resumen.toml");
        let lines: Vec<&str> = reference
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .collect();
        for key in [
            SERVER,
            STORE,
            TIMING,
            REQUEST,
            SOURCE_ONLY,
            DERIVED,
            &["name"],
        ]
        .concat()
        {
            let written = format!("{key} = ");
            let named = lines
                .iter()
                .any(|line| line.starts_with(&written) || line.contains(&format!(".{key}]]")));
            assert!(named, "{key}");
        }
        for section in TOP {
            let begins = [
                format!("[{section}]"),
                format!("[{section}."),
                format!("[[{section}."),
            ];
            assert!(
                lines
                    .iter()
                    .any(|line| begins.iter().any(|begin| line.starts_with(begin))),
                "{section}"
            );
        }
    }

    /// That what the page says of a key is true is tested from outside, in `tests/it/documents`.
    #[test]
    fn the_page_names_every_key_in_its_section() {
        let page = include_str!("../../docs/configuration.md");
        let sections = [
            ("`[server]`", SERVER),
            ("`[store]`", STORE),
            ("`[defaults]`", TIMING),
            ("`[sources.NAME]`", REQUEST),
            ("`[sources.NAME]`", SOURCE_ONLY),
            ("`[[sources.NAME.providers]]`", &["name"]),
            ("`[derived.NAME]`", DERIVED),
        ];
        for (heading, keys) in sections {
            let part = page
                .split("\n## ")
                .find(|part| part.starts_with(&format!("{heading}\n")))
                .unwrap();
            for key in keys {
                assert!(
                    part.contains(&format!("\n| `{key} = "))
                        || part.contains(&format!("`{key}` as in")),
                    "{key}"
                );
            }
        }
    }
}
