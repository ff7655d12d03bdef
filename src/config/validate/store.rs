//! `[store]`

use std::path::PathBuf;

use url::Url;

use crate::config::config_settings::StoreSettings;
use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;

const MAX_PREFIX_BYTES: usize = 128;

/// The settings of the table; defaults where values are absent or invalid.
pub(crate) fn validate_store(table: &Table, loader: &mut ConfigLoader<'_>) -> StoreSettings {
    let default = StoreSettings::default();
    let path = match table.text("path") {
        Some(text) => loader.check(text, check_state_path(text)).flatten(),
        None => default.path,
    };
    let redis = table.url("redis").and_then(|(text, url)| {
        loader.check(text, check_redis_url(url))?;
        Some(text.value.clone())
    });
    let prefix = table.text("redis_prefix");
    let prefix = prefix.and_then(|text| loader.check(text, check_key_prefix(text)));
    StoreSettings {
        path,
        redis,
        redis_prefix: prefix.unwrap_or(default.redis_prefix),
    }
}

/// The path of the state file. `None` for an empty text.
fn check_state_path(text: &SpannedStr) -> Result<Option<PathBuf>, ValueError> {
    let error = if text.value.contains('\0') {
        "contains a NUL"
    } else if text.value.ends_with('/') {
        "is a folder"
    } else {
        let path = Some(&text.value).filter(|path| !path.is_empty());
        return Ok(path.map(PathBuf::from));
    };
    let help = "expected a file, or \"\" for none";
    refuse(format!("the path {text} {error}"), help)
}

fn check_redis_url(url: &Url) -> Result<(), ValueError> {
    let path = url.path().trim_matches('/');
    let (message, help) = match url.scheme() {
        "unix" if path.is_empty() || url.has_host() => (
            "the URL names no socket",
            "expected `unix:///path/to/socket`",
        ),
        "unix" => return Ok(()),
        _ if url.host_str().is_none_or(str::is_empty) => {
            let help = "expected `redis://[user:password@]host[:port][/database]`";
            ("the URL has no host", help)
        }
        _ if !path.is_empty() && path.parse::<u32>().is_err() => {
            let message = "the path of a Redis URL is the number of a database";
            (message, "expected `redis://host:port/0`")
        }
        _ => return Ok(()),
    };
    refuse(message, help)
}

fn check_key_prefix(text: &SpannedStr) -> Result<String, ValueError> {
    let is_printable = text.value.bytes().all(|b| b.is_ascii_graphic());
    if is_printable && (1..=MAX_PREFIX_BYTES).contains(&text.value.len()) {
        return Ok(text.value.clone());
    }
    let help =
        format!("expected 1 to {MAX_PREFIX_BYTES} printable ASCII characters without spaces");
    refuse(format!("{text} is not a valid key prefix"), help)
}
