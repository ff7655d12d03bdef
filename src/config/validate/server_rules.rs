//! `[server]`

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::config::access_settings::LiveAccess;
use crate::config::config_settings::ServerSettings;
use crate::config::listen_address::{ListenAddress, parse_listen};
use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::text::{UnitStyle, format_duration, parse_size};

/// Minimum of `send_budget`, in bytes.
const MIN_SEND_BUDGET: u64 = 16 << 10;

use super::server_tls_rules::validate_server_tls;
use super::token_rules::validate_tokens;

/// The settings of the table; defaults where values are absent or invalid.
pub(crate) fn validate_server(table: &Table, loader: &mut ConfigLoader<'_>) -> ServerSettings {
    let default = ServerSettings::default();
    let duration = |key, default| table.duration(key).map_or(default, |written| written.value);
    let max_timeout = duration("max_timeout", default.max_timeout);
    // Only the default is lowered to a short `max_timeout`; a written value is an error.
    let default_timeout = duration("default_timeout", default.default_timeout.min(max_timeout));
    if let Some(written) = table.duration("default_timeout")
        && written.value > max_timeout
        // The comparison with a default in place of an invalid value would mislead.
        && !table.is_invalid("max_timeout")
    {
        let written_text = format_duration(written.value, UnitStyle::Syntax);
        let message = format!("default_timeout {written_text} is longer than max_timeout");
        let help = format!(
            "expected at most {}",
            format_duration(max_timeout, UnitStyle::Syntax)
        );
        loader.error(written.span, &message, help);
    }
    let listen = table
        .text("listen")
        .and_then(|text| loader.check(text, check_listen(text)))
        .unwrap_or(default.listen);
    let connections = table.integer("max_connections");
    let admin_listen = validate_admin_listen(table, &listen, loader);
    let addresses: Vec<_> = std::iter::once(&listen).chain(&admin_listen).collect();
    ServerSettings {
        tls: validate_server_tls(table, &addresses, loader),
        admin_listen,
        listen,
        default_timeout,
        max_timeout,
        max_connections: connections.map_or(default.max_connections, |number| number as usize),
        header_timeout: duration("header_timeout", default.header_timeout),
        idle_timeout: duration("idle_timeout", default.idle_timeout),
        shutdown_grace: duration("shutdown_grace", default.shutdown_grace),
        cors_origins: validate_origins("cors_origins", table, loader),
        frame_ancestors: validate_origins("frame_ancestors", table, loader),
        trusted_proxies: validate_proxies(table, loader),
        max_per_client: table
            .integer("max_per_client")
            .map_or(default.max_per_client, |number| number as usize),
        access_log: table.boolean("access_log").unwrap_or(default.access_log),
        hosts: validate_hosts(table, loader),
        live: validate_live(table, loader),
        tokens: validate_tokens(table, loader),
        send_budget: validate_send_budget(table, loader),
    }
}

/// The budget in bytes; `None` for `auto`.
fn validate_send_budget(table: &Table, loader: &mut ConfigLoader<'_>) -> Option<u64> {
    let text = table.text("send_budget")?;
    if text.value == "auto" {
        return None;
    }
    let size = parse_size(&text.value).ok();
    let parsed = size.filter(|size| *size >= MIN_SEND_BUDGET).map_or_else(
        || {
            let help = "expected `auto`, or a size from `16KiB` such as `32MiB`";
            refuse(format!("{text} is not a budget"), help)
        },
        Ok,
    );
    loader.check(text, parsed)
}

fn check_listen(text: &SpannedStr) -> Result<ListenAddress, ValueError> {
    let refused = |help| refuse(format!("{text} is not an address to listen on"), help);
    parse_listen(&text.value).or_else(refused)
}

fn validate_admin_listen(
    table: &Table,
    listen: &ListenAddress,
    loader: &mut ConfigLoader<'_>,
) -> Option<ListenAddress> {
    let text = table.text("admin_listen")?;
    if text.value.is_empty() {
        return None;
    }
    let address = loader.check(text, check_listen(text))?;
    let is_free_port = address.ip().is_some_and(|ip| ip.port() == 0);
    if address == *listen && !is_free_port {
        let message = "`admin_listen` is the address of `listen`";
        loader.error(&text.span, message, "expected another port or path");
    }
    Some(address)
}

fn validate_origins(key: &str, table: &Table, loader: &mut ConfigLoader<'_>) -> Vec<String> {
    let texts = table.text_list(key).unwrap_or_default();
    if let Some(span) = table.span_of(key)
        && texts.len() > 1
        && texts.iter().any(|text| text.value == "*")
    {
        let help = "expected [\"*\"] alone, or exact origins";
        loader.error(span, "`*` stands beside other origins", help);
    }
    let origins = texts
        .iter()
        .filter_map(|text| loader.check(text, check_origin(text)));
    origins.collect()
}

fn validate_proxies(table: &Table, loader: &mut ConfigLoader<'_>) -> Vec<IpNet> {
    let texts = table.text_list("trusted_proxies").unwrap_or_default();
    let networks = texts.iter().filter_map(|text| {
        let parsed = text.value.parse::<IpNet>();
        let parsed = parsed.or_else(|_| text.value.parse::<IpAddr>().map(IpNet::from));
        let refused = |_| {
            refuse(
                format!("{text} is neither an address nor a network"),
                "expected such as \"10.0.0.7\" or \"10.0.0.0/8\"",
            )
        };
        loader.check(text, parsed.or_else(refused))
    });
    networks.collect()
}

fn validate_live(table: &Table, loader: &mut ConfigLoader<'_>) -> LiveAccess {
    let Some(text) = table.text("live") else {
        return LiveAccess::On;
    };
    match text.value.as_str() {
        "off" => LiveAccess::Off,
        "token" => {
            if !table.has("tokens") {
                let message = "`live = \"token\"` without a token: nobody gets live answers";
                loader.warning(&text.span, message, "expected `[server.tokens.NAME]`");
            }
            LiveAccess::Token
        }
        _ => LiveAccess::On,
    }
}

fn validate_hosts(table: &Table, loader: &mut ConfigLoader<'_>) -> Vec<String> {
    let texts = table.text_list("hosts").unwrap_or_default();
    let hosts = texts
        .iter()
        .filter_map(|text| loader.check(text, check_host_name(text)));
    hosts.collect()
}

/// A host as `HostPolicy` compares it: in lower case, in Punycode, without a trailing dot.
fn check_host_name(text: &SpannedStr) -> Result<String, ValueError> {
    let name = text.value.strip_suffix('.').unwrap_or(&text.value);
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    match Host::parse(name) {
        Ok(Host::Domain(name)) if name.bytes().all(is_name_byte) && !name.ends_with('.') => {
            Ok(name)
        }
        // Always allowed, so it has no effect.
        Ok(address @ (Host::Ipv4(_) | Host::Ipv6(_))) => Ok(address.to_string()),
        _ => refuse(
            format!("{text} is not a host name"),
            "expected a name such as \"wall.example.org\", without scheme, port, path and wildcards",
        ),
    }
}

/// An origin in exactly the form that browsers send, or `*`.
fn check_origin(text: &SpannedStr) -> Result<String, ValueError> {
    // The parser accepts `https:host`, which is not the form of an origin.
    let url = Url::parse(&text.value).ok();
    let url =
        url.filter(|url| matches!(url.scheme(), "http" | "https") && text.value.contains("://"));
    let exact = url.map(|url| url.origin().ascii_serialization());
    if text.value == "*" || exact.as_ref() == Some(&text.value) {
        return Ok(text.value.clone());
    }
    let help = exact.map_or_else(
        || "expected `https://host`, `http://host:port` or `*`".to_owned(),
        |exact| format!("did you mean \"{exact}\"?"),
    );
    refuse(format!("{text} is not an origin"), help)
}
