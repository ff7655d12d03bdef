//! `[store]`

use std::path::PathBuf;

use redis::IntoConnectionInfo as _;
use url::Url;

use crate::config::config_settings::StoreSettings;
use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;

use super::certificates::read_certificates;

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
        Some((text, url))
    });
    let ca_file = table.text("redis_ca_file");
    let ca_file = ca_file.filter(|text| !text.value.is_empty());
    if let Some(text) = ca_file
        && redis.is_none_or(|(_, url)| url.scheme() != "rediss")
        && !table.is_invalid("redis")
    {
        let help = "only a `rediss://` URL in `redis` makes a TLS connection";
        loader.warning(&text.span, "`redis_ca_file` has no effect", help);
    }
    let prefix = table.text("redis_prefix");
    let prefix = prefix.and_then(|text| loader.check(text, check_key_prefix(text)));
    StoreSettings {
        path,
        redis: redis.map(|(text, _)| text.value.clone()),
        redis_ca_file: ca_file.and_then(|_| read_certificates(table, "redis_ca_file", loader)),
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

/// Checks what the client of Redis would refuse, or accept without TLS verification.
fn check_redis_url(url: &Url) -> Result<(), ValueError> {
    // `#insecure` is the client's switch that turns the verification off.
    if url.fragment().is_some() {
        let help = "verification cannot be turned off: name the authority in `redis_ca_file`";
        return refuse("a Redis URL has no fragment", help);
    }
    let help = match url.scheme() {
        "unix" if url.path().trim_matches('/').is_empty() => {
            return refuse(
                "the URL names no socket",
                "expected `unix:///path/to/socket`",
            );
        }
        "unix" => "expected `unix:///path/to/socket[?db=0&user=…&pass=…]`",
        _ => "expected `redis://[user:password@]host[:port][/database]`",
    };
    let parsed = url.clone().into_connection_info();
    let Err(error) = parsed else {
        return Ok(());
    };
    // The kind of the error, after the dash, says nothing more.
    let reason = error.to_string();
    let reason = reason.split(" - ").next().unwrap_or_default();
    refuse(format!("the URL is not one of Redis: {reason}"), help)
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
