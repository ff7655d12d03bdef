//! The address and the credentials of Redis, from the URL in the configuration.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use redis::{ProtocolVersion, RedisConnectionInfo};
use url::Url;

/// The port of a URL without one.
const DEFAULT_REDIS_PORT: u16 = 6379;

/// The address of Redis. Its text contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedisAddress {
    /// Host and port.
    Tcp(String, u16),
    /// Host and port, over TLS.
    Tls(String, u16),
    /// A socket file.
    Unix(PathBuf),
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) | Self::Tls(host, port) if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp(host, port) | Self::Tls(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Parses a URL that `config` has validated. `None` if it is invalid nevertheless.
pub(crate) fn parse_redis_url(url: &str) -> Option<(RedisAddress, RedisConnectionInfo)> {
    let url = Url::parse(url).ok()?;
    let query: HashMap<_, _> = url.query_pairs().collect();
    let (address, user, password, database) = if url.scheme() == "unix" {
        let path = percent_decode_str(url.path()).decode_utf8().ok()?;
        let from_query = |key: &str| query.get(key).map(ToString::to_string);
        (
            RedisAddress::Unix(PathBuf::from(&*path)),
            from_query("user"),
            from_query("pass"),
            from_query("db"),
        )
    } else {
        let host = url
            .host_str()?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = url.port().unwrap_or(DEFAULT_REDIS_PORT);
        let address = if url.scheme() == "rediss" {
            RedisAddress::Tls(host, port)
        } else {
            RedisAddress::Tcp(host, port)
        };
        let decoded = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .ok()
                .map(std::borrow::Cow::into_owned)
        };
        let user = decoded(url.username()).filter(|user| !user.is_empty());
        let password = url.password().and_then(decoded);
        (
            address,
            user,
            password,
            Some(url.path().trim_matches('/').to_owned()),
        )
    };
    let mut info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    info = user
        .into_iter()
        .fold(info, RedisConnectionInfo::set_username);
    info = password
        .into_iter()
        .fold(info, RedisConnectionInfo::set_password);
    info = database
        .and_then(|text| text.parse().ok())
        .into_iter()
        .fold(info, RedisConnectionInfo::set_db);
    Some((
        address,
        info.set_lib_name("resumen", env!("CARGO_PKG_VERSION")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed_url_parts(url: &str) -> (String, Option<String>, Option<String>, i64) {
        let (address, info) = parse_redis_url(url).unwrap();
        (
            address.to_string(),
            info.username().map(Into::into),
            info.password().map(Into::into),
            info.db(),
        )
    }

    #[test]
    fn redis_url_forms_are_parsed() {
        assert_eq!(
            parsed_url_parts("redis://h"),
            ("h:6379".into(), None, None, 0)
        );
        assert_eq!(
            parsed_url_parts("rediss://u:p%40q@h:1/3"),
            ("h:1".into(), Some("u".into()), Some("p@q".into()), 3)
        );
        assert_eq!(
            parsed_url_parts("redis://:p@[::1]:7/"),
            ("[::1]:7".into(), None, Some("p".into()), 0)
        );
        assert_eq!(
            parsed_url_parts("unix:///run/r.sock?db=2&pass=p"),
            ("/run/r.sock".into(), None, Some("p".into()), 2)
        );
    }
}
