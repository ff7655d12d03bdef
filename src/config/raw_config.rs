//! The file as it is written: every known key with its type and its place, nothing inherited, nothing related.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeTable;

use super::loader::ConfigLoader;
use super::table_reader::{SpannedStr, SpannedValue, TableReader, quote};

const TOP_LEVEL_KEYS: &[&str] = &["server", "store", "defaults", "sources", "derived"];
const SERVER_KEYS: &[&str] = &[
    "listen",
    "default_timeout",
    "max_timeout",
    "max_connections",
    "header_timeout",
    "idle_timeout",
    "shutdown_grace",
    "cors_origins",
];
const STORE_KEYS: &[&str] = &["path", "redis", "redis_prefix"];
const TIMING_KEYS: &[&str] = &[
    "interval",
    "timeout",
    "ttl",
    "max_stale",
    "min_interval",
    "max_body",
    "proxy",
];
const DEFAULTS_ONLY_KEYS: &[&str] = &["max_per_host"];
const REQUEST_KEYS: &[&str] = &[
    "url",
    "method",
    "headers",
    "body",
    "extract",
    "allow_private",
    "ca_file",
];
const SOURCE_ONLY_KEYS: &[&str] = &["providers", "hedge_after", "attribution"];
const DERIVED_KEYS: &[&str] = &["from", "extract", "attribution"];

/// The most bytes that `max_body` may allow.
const MAX_BODY_LIMIT: u64 = 1 << 30;

/// Maximum of `max_per_host`.
const MAX_PER_HOST_LIMIT: u64 = 10_000;

/// The whole file.
pub(crate) struct RawConfig {
    pub(crate) server: RawServer,
    pub(crate) store: RawStore,
    pub(crate) defaults: RawTiming,
    /// Maximum number of concurrent calls to one host and port.
    pub(crate) max_per_host: Option<u64>,
    pub(crate) sources: Vec<RawSource>,
    pub(crate) derived: Vec<RawDerived>,
    /// Where `[sources]` begins; the file's beginning if there is none.
    pub(crate) sources_span: Range<usize>,
    /// Whether something stands in `[sources]`, valid or not.
    pub(crate) has_sources: bool,
}

impl RawConfig {
    /// Every filter that is written.
    pub(crate) fn filter_texts(&self) -> impl Iterator<Item = &SpannedStr> {
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
pub(crate) struct RawServer {
    pub(crate) listen: Option<SpannedStr>,
    pub(crate) default_timeout: Option<SpannedValue<Duration>>,
    pub(crate) max_timeout: Option<SpannedValue<Duration>>,
    pub(crate) max_connections: Option<u64>,
    pub(crate) header_timeout: Option<SpannedValue<Duration>>,
    pub(crate) idle_timeout: Option<SpannedValue<Duration>>,
    pub(crate) shutdown_grace: Option<SpannedValue<Duration>>,
    pub(crate) cors_origins: Option<SpannedValue<Vec<SpannedStr>>>,
    /// Whether one of the two timeouts is written but is no duration.
    pub(crate) has_invalid_timeout: bool,
}

/// `[store]`
#[derive(Default)]
pub(crate) struct RawStore {
    pub(crate) path: Option<SpannedStr>,
    pub(crate) redis: Option<SpannedStr>,
    pub(crate) redis_prefix: Option<SpannedStr>,
}

/// What `[defaults]` and a source may say about when and how much.
#[derive(Default)]
pub(crate) struct RawTiming {
    pub(crate) interval: Option<SpannedValue<Duration>>,
    pub(crate) timeout: Option<SpannedValue<Duration>>,
    pub(crate) ttl: Option<SpannedValue<Duration>>,
    pub(crate) max_stale: Option<SpannedValue<Duration>>,
    pub(crate) min_interval: Option<SpannedValue<Duration>>,
    pub(crate) max_body: Option<SpannedValue<u64>>,
    pub(crate) proxy: Option<SpannedStr>,
    /// Whether a duration is written that is none, so that the others cannot be related to it.
    pub(crate) has_invalid_duration: bool,
}

/// What a source or one of its providers may say about its request.
#[derive(Default)]
pub(crate) struct RawRequest {
    pub(crate) url: Option<SpannedStr>,
    /// Whether `url` is written at all, valid or not.
    pub(crate) has_url: bool,
    pub(crate) method: Option<SpannedStr>,
    pub(crate) headers: Vec<(SpannedValue<String>, SpannedStr)>,
    pub(crate) body: Option<SpannedStr>,
    pub(crate) extract: Option<SpannedStr>,
    pub(crate) allow_private: Option<bool>,
    pub(crate) ca_file: Option<SpannedStr>,
}

/// `[[sources.NAME.providers]]`
pub(crate) struct RawProvider {
    pub(crate) span: Range<usize>,
    pub(crate) name: Option<SpannedStr>,
    pub(crate) request: RawRequest,
}

/// `[sources.NAME]`
pub(crate) struct RawSource {
    pub(crate) name: SpannedValue<String>,
    /// Where its table begins.
    pub(crate) span: Range<usize>,
    pub(crate) request: RawRequest,
    pub(crate) timing: RawTiming,
    pub(crate) providers: Option<SpannedValue<Vec<RawProvider>>>,
    /// Whether `providers` is written but is no list of tables.
    pub(crate) has_invalid_providers: bool,
    pub(crate) hedge_after: Option<SpannedValue<Duration>>,
    pub(crate) attribution: Option<SpannedStr>,
}

/// `[derived.NAME]`
pub(crate) struct RawDerived {
    pub(crate) name: SpannedValue<String>,
    /// Where its table begins.
    pub(crate) span: Range<usize>,
    pub(crate) from: Option<SpannedValue<Vec<SpannedStr>>>,
    /// Whether `from` is written at all, valid or not.
    pub(crate) has_from: bool,
    pub(crate) extract: Option<SpannedStr>,
    pub(crate) attribution: Option<SpannedStr>,
}

/// Reads the file's tree.
pub(crate) fn read_config(tree: &DeTable<'_>, cx: &mut ConfigLoader<'_>) -> RawConfig {
    let top = TableReader::new(tree, "at the top".into(), TOP_LEVEL_KEYS, &mut cx.problems);
    let has_sources = tree
        .get("sources")
        .is_some_and(|found| found.get_ref().as_table().is_none_or(|t| !t.is_empty()));
    let sources_span = tree.get("sources").map_or(0..0, toml::Spanned::span);
    let keys = [TIMING_KEYS, DEFAULTS_ONLY_KEYS].concat();
    let (defaults, max_per_host) = read_section(&top, "defaults", &keys, cx, |section, cx| {
        let most = section.read_integer("max_per_host", 1, MAX_PER_HOST_LIMIT, cx);
        (read_timing(section, cx), most)
    });
    RawConfig {
        server: read_section(&top, "server", SERVER_KEYS, cx, read_server),
        store: read_section(&top, "store", STORE_KEYS, cx, read_store),
        defaults,
        max_per_host,
        sources: read_named_sections(&top, "source", "sources", cx, read_source),
        derived: read_named_sections(&top, "derived source", "derived", cx, read_derived),
        sources_span,
        has_sources,
    }
}

/// Where a key that stands in the wrong table belongs.
pub(crate) fn expected_section(key: &str) -> Option<&'static str> {
    match key {
        _ if SERVER_KEYS.contains(&key) => Some("in `[server]`"),
        _ if STORE_KEYS.contains(&key) => Some("in `[store]`"),
        _ if DEFAULTS_ONLY_KEYS.contains(&key) => Some("in `[defaults]`"),
        _ if TIMING_KEYS.contains(&key) => Some("in `[defaults]` or in a source"),
        _ if REQUEST_KEYS.contains(&key) => Some("in a source or in one of its providers"),
        _ if SOURCE_ONLY_KEYS.contains(&key) => Some("in a source"),
        "from" => Some("in a derived source"),
        "name" => Some("in a provider"),
        _ if TOP_LEVEL_KEYS.contains(&key) => Some("at the top"),
        _ => None,
    }
}

fn read_section<T: Default>(
    top: &TableReader<'_, '_>,
    key: &str,
    keys: &[&str],
    cx: &mut ConfigLoader<'_>,
    read: fn(&TableReader<'_, '_>, &mut ConfigLoader<'_>) -> T,
) -> T {
    let Some(table) = top.read_table(key, cx) else {
        return T::default();
    };
    let section = TableReader::new(table.value, format!("in `[{key}]`"), keys, &mut cx.problems);
    read(&section, cx)
}

fn read_named_sections<T>(
    top: &TableReader<'_, '_>,
    what: &str,
    key: &str,
    cx: &mut ConfigLoader<'_>,
    read: fn(SpannedValue<String>, SpannedValue<&DeTable<'_>>, &mut ConfigLoader<'_>) -> T,
) -> Vec<T> {
    let Some(table) = top.read_table(key, cx) else {
        return Vec::new();
    };
    let section = TableReader::with_any_keys(table.value, format!("in `[{key}]`"));
    section
        .read_named_tables(what, cx)
        .into_iter()
        .map(|(name, table)| read(name, table, cx))
        .collect()
}

fn read_server(section: &TableReader<'_, '_>, cx: &mut ConfigLoader<'_>) -> RawServer {
    let mut raw = RawServer {
        listen: section.read_string("listen", cx),
        default_timeout: section.read_duration("default_timeout", cx),
        max_timeout: section.read_duration("max_timeout", cx),
        max_connections: section.read_integer("max_connections", 1, 1_000_000, cx),
        header_timeout: section.read_duration("header_timeout", cx),
        idle_timeout: section.read_duration("idle_timeout", cx),
        shutdown_grace: section.read_duration_or_zero("shutdown_grace", cx),
        cors_origins: section.read_strings("cors_origins", cx),
        has_invalid_timeout: false,
    };
    raw.has_invalid_timeout = (section.has_key("default_timeout") && raw.default_timeout.is_none())
        || (section.has_key("max_timeout") && raw.max_timeout.is_none());
    raw
}

fn read_store(section: &TableReader<'_, '_>, cx: &mut ConfigLoader<'_>) -> RawStore {
    RawStore {
        path: section.read_string("path", cx),
        redis: section.read_string("redis", cx),
        redis_prefix: section.read_string("redis_prefix", cx),
    }
}

fn read_timing(section: &TableReader<'_, '_>, cx: &mut ConfigLoader<'_>) -> RawTiming {
    let mut raw = RawTiming {
        interval: section.read_duration("interval", cx),
        timeout: section.read_duration("timeout", cx),
        ttl: section.read_duration("ttl", cx),
        max_stale: section.read_duration_or_zero("max_stale", cx),
        min_interval: section.read_duration_or_zero("min_interval", cx),
        max_body: section.read_size("max_body", MAX_BODY_LIMIT, cx),
        proxy: section.read_string("proxy", cx),
        has_invalid_duration: false,
    };
    let durations = [
        &raw.interval,
        &raw.timeout,
        &raw.ttl,
        &raw.max_stale,
        &raw.min_interval,
    ];
    raw.has_invalid_duration = TIMING_KEYS
        .iter()
        .zip(durations)
        .any(|(key, read)| section.has_key(key) && read.is_none());
    raw
}

fn read_request(section: &TableReader<'_, '_>, cx: &mut ConfigLoader<'_>) -> RawRequest {
    let headers = section.read_table("headers", cx).map(|table| {
        let place = format!("among the headers {}", section.description);
        TableReader::with_any_keys(table.value, place).read_headers(cx)
    });
    RawRequest {
        url: section.read_string("url", cx),
        has_url: section.has_key("url"),
        method: section.read_string("method", cx),
        headers: headers.unwrap_or_default(),
        body: section.read_string("body", cx),
        extract: section.read_literal("extract", cx),
        allow_private: section.read_boolean("allow_private", cx),
        ca_file: section.read_string("ca_file", cx),
    }
}

fn read_source(
    name: SpannedValue<String>,
    table: SpannedValue<&DeTable<'_>>,
    cx: &mut ConfigLoader<'_>,
) -> RawSource {
    let keys = [REQUEST_KEYS, TIMING_KEYS, SOURCE_ONLY_KEYS].concat();
    let place = format!("in source {}", quote(&name.value));
    let section = TableReader::new(table.value, place, &keys, &mut cx.problems);
    let providers = section
        .read_tables("providers", cx)
        .map(|tables| SpannedValue {
            value: tables
                .value
                .into_iter()
                .map(|table| read_provider(&name.value, table, cx))
                .collect(),
            span: tables.span,
        });
    RawSource {
        request: read_request(&section, cx),
        timing: read_timing(&section, cx),
        has_invalid_providers: section.has_key("providers") && providers.is_none(),
        providers,
        hedge_after: section.read_duration_or_zero("hedge_after", cx),
        attribution: section.read_string("attribution", cx),
        span: table.span,
        name,
    }
}

fn read_provider(
    source: &str,
    table: SpannedValue<&DeTable<'_>>,
    cx: &mut ConfigLoader<'_>,
) -> RawProvider {
    let keys = [&["name"], REQUEST_KEYS].concat();
    let place = format!("in a provider of source {}", quote(source));
    let section = TableReader::new(table.value, place, &keys, &mut cx.problems);
    RawProvider {
        name: section.read_string("name", cx),
        request: read_request(&section, cx),
        span: table.span,
    }
}

fn read_derived(
    name: SpannedValue<String>,
    table: SpannedValue<&DeTable<'_>>,
    cx: &mut ConfigLoader<'_>,
) -> RawDerived {
    let place = format!("in derived source {}", quote(&name.value));
    let section = TableReader::new(table.value, place, DERIVED_KEYS, &mut cx.problems);
    RawDerived {
        from: section.read_strings("from", cx),
        has_from: section.has_key("from"),
        extract: section.read_literal("extract", cx),
        attribution: section.read_string("attribution", cx),
        span: table.span,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_file_lists_every_key() {
        let reference = include_str!("../../config/resumen.toml");
        let lines: Vec<&str> = reference
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .collect();
        for key in [
            SERVER_KEYS,
            STORE_KEYS,
            TIMING_KEYS,
            DEFAULTS_ONLY_KEYS,
            REQUEST_KEYS,
            SOURCE_ONLY_KEYS,
            DERIVED_KEYS,
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
        for section in TOP_LEVEL_KEYS {
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
    fn documentation_lists_every_key() {
        let page = include_str!("../../docs/configuration.md");
        let sections = [
            ("`[server]`", SERVER_KEYS),
            ("`[store]`", STORE_KEYS),
            ("`[defaults]`", TIMING_KEYS),
            ("`[defaults]`", DEFAULTS_ONLY_KEYS),
            ("`[sources.NAME]`", REQUEST_KEYS),
            ("`[sources.NAME]`", SOURCE_ONLY_KEYS),
            ("`[[sources.NAME.providers]]`", &["name"]),
            ("`[derived.NAME]`", DERIVED_KEYS),
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
