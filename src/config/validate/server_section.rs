//! `[server]` and `[store]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::ConfigLoader;
use crate::config::format_duration;
use crate::config::{RawServer, RawStore};
use crate::config::{ServerSettings, StoreSettings};
use crate::config::{SpannedStr, SpannedValue};

use super::listen_address;

const MAX_PREFIX_BYTES: usize = 128;

impl Default for ServerSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            default_timeout: seconds(4),
            max_timeout: seconds(30),
            max_connections: 10_000,
            header_timeout: seconds(10),
            idle_timeout: seconds(75),
            shutdown_grace: seconds(10),
            cors_origins: Vec::new(),
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: Some("state/resumen.json".into()),
            redis: None,
            redis_prefix: "resumen".into(),
        }
    }
}

/// The address that `text` spells; otherwise what would be right.
///
/// ```
/// assert!(resumen::config::parse_listen("127.0.0.1:0").is_ok());
/// assert_eq!(resumen::config::parse_listen(":80").unwrap_err(), "did you mean `0.0.0.0:80`?");
/// ```
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let host = match host {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        _ => "",
    };
    let meant = format!("{host}:{port}");
    match meant.parse::<SocketAddr>() {
        Ok(meant) => Err(format!("did you mean `{meant}`?")),
        Err(_) => Err(
            "expected an address and a port from 0 to 65535, such as `0.0.0.0:8080` or `[::]:8080`"
                .into(),
        ),
    }
}

/// How to serve.
pub(crate) fn validate_server(raw: &RawServer, cx: &mut ConfigLoader<'_>) -> ServerSettings {
    let default = ServerSettings::default();
    let of = |spot: &Option<SpannedValue<Duration>>, default| {
        spot.as_ref().map_or(default, |spot| spot.value)
    };
    let max_timeout = of(&raw.max_timeout, default.max_timeout);
    let default_timeout = of(
        &raw.default_timeout,
        default.default_timeout.min(max_timeout),
    );
    if let Some(spot) = raw
        .default_timeout
        .as_ref()
        .filter(|_| default_timeout > max_timeout && !raw.has_invalid_timeout)
    {
        let message = format!(
            "default_timeout {} is longer than max_timeout",
            format_duration(default_timeout)
        );
        cx.problems.add_error(
            &spot.span,
            message,
            format!("expected at most {}", format_duration(max_timeout)),
        );
    }
    ServerSettings {
        listen: raw
            .listen
            .as_ref()
            .and_then(|text| validate_listen(text, cx))
            .unwrap_or(default.listen),
        default_timeout,
        max_timeout,
        max_connections: raw
            .max_connections
            .map_or(default.max_connections, |most| most as usize),
        header_timeout: of(&raw.header_timeout, default.header_timeout),
        idle_timeout: of(&raw.idle_timeout, default.idle_timeout),
        shutdown_grace: of(&raw.shutdown_grace, default.shutdown_grace),
        cors_origins: raw
            .cors_origins
            .as_ref()
            .map(|list| validate_origins(list, cx))
            .unwrap_or_default(),
    }
}

fn validate_listen(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<SocketAddr> {
    let fault = |help: String| {
        cx.problems.add_error(
            &text.span,
            format!("{text} is no address to listen on"),
            help,
        )
    };
    parse_listen(&text.value).map_err(fault).ok()
}

fn validate_origins(
    list: &SpannedValue<Vec<SpannedStr>>,
    cx: &mut ConfigLoader<'_>,
) -> Vec<String> {
    if list.value.len() > 1 && list.value.iter().any(|text| text.value == "*") {
        cx.problems.add_error(
            &list.span,
            "`*` stands beside other origins",
            "expected [\"*\"] alone, or exact origins",
        );
    }
    let mut origins = Vec::with_capacity(list.value.len());
    for text in &list.value {
        match check_origin(&text.value) {
            Ok(()) => origins.push(text.value.clone()),
            Err(help) => cx
                .problems
                .add_error(&text.span, format!("{text} is no origin"), help),
        }
    }
    origins
}

/// Whether browsers would send exactly this text; otherwise what would be right.
fn check_origin(text: &str) -> Result<(), String> {
    if text == "*" {
        return Ok(());
    }
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && text.contains("://"));
    match url.map(|url| url.origin().ascii_serialization()) {
        Some(exact) if exact == text => Ok(()),
        Some(exact) => Err(format!("did you mean \"{exact}\"?")),
        None => Err("expected `https://host`, `http://host:port` or `*`".into()),
    }
}

/// Where readings survive.
pub(crate) fn validate_store(raw: &RawStore, cx: &mut ConfigLoader<'_>) -> StoreSettings {
    let default = StoreSettings::default();
    StoreSettings {
        path: raw
            .path
            .as_ref()
            .map_or(default.path, |text| validate_state_path(text, cx)),
        redis: raw
            .redis
            .as_ref()
            .and_then(|text| listen_address::validate_redis_url(text, cx)),
        redis_prefix: raw
            .redis_prefix
            .as_ref()
            .and_then(|text| validate_key_prefix(text, cx))
            .unwrap_or(default.redis_prefix),
    }
}

/// The state file; an empty text is none.
fn validate_state_path(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<PathBuf> {
    let fault = if text.value.contains('\0') {
        "holds a NUL"
    } else if text.value.ends_with('/') {
        "names a folder"
    } else {
        return Some(text.value.as_str())
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
    };
    cx.problems.add_error(
        &text.span,
        format!("the path {text} {fault}"),
        "expected a file, or \"\" for none",
    );
    None
}

fn validate_key_prefix(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<String> {
    let plain = text.value.bytes().all(|b| b.is_ascii_graphic());
    if plain && (1..=MAX_PREFIX_BYTES).contains(&text.value.len()) {
        return Some(text.value.clone());
    }
    let help =
        format!("expected 1 to {MAX_PREFIX_BYTES} printable ASCII characters without spaces");
    cx.problems
        .add_error(&text.span, format!("{text} is no prefix of keys"), help);
    None
}
