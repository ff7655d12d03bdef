//! The names under which the server may be requested (`server.hosts`): a guard against DNS
//! rebinding, by which a page of the internet reads the answers of a private address under a name
//! of its own.

use std::net::Ipv4Addr;

use http::HeaderValue;
use http::header::HOST;
use http::request::Parts;

use super::problem::{ProblemDetails, ProblemKind};

/// The allowed names. Ports, letter case and a trailing dot are ignored.
#[derive(Debug)]
pub(crate) struct HostPolicy {
    /// In lower case without a trailing dot. Empty: every name is allowed.
    names: Vec<String>,
}

impl HostPolicy {
    /// The policy of these configured names.
    pub(super) fn new(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
        }
    }

    /// Whether a valid `uri-host [ ":" port ]` is allowed. An address and `localhost` always are:
    /// no DNS answer leads a browser there under a foreign name.
    pub(super) fn allows_host(&self, value: &[u8]) -> bool {
        if self.names.is_empty() || value.starts_with(b"[") {
            return true;
        }
        let name = value.split(|byte| *byte == b':').next().unwrap_or(value);
        let name = name.strip_suffix(b".").unwrap_or(name);
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        is("localhost") || self.names.iter().any(|known| is(known)) || is_ipv4_address(name)
    }

    /// Refuses a request whose target or `Host` has a name that is not allowed, or that has no
    /// name. Both are checked: either may be what a proxy or a browser went by.
    pub(super) fn check_request(&self, head: &Parts) -> Result<(), ProblemDetails> {
        if self.names.is_empty() {
            return Ok(());
        }
        let authority = head.uri.authority().map(|name| name.as_str().as_bytes());
        let fields = head.headers.get_all(HOST).iter();
        let mut names = fields
            .map(HeaderValue::as_bytes)
            .chain(authority)
            .peekable();
        if names.peek().is_some() && names.all(|name| self.allows_host(name)) {
            return Ok(());
        }
        let detail = "the service is not configured to answer under this name";
        Err(ProblemDetails::new(ProblemKind::MisdirectedHost, detail)
            .with_param("Host")
            .with_expected("a name in `server.hosts`, an IP address or `localhost`"))
    }
}

fn is_ipv4_address(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(names: &[&str], host: &str) -> bool {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        HostPolicy::new(&names).allows_host(host.as_bytes())
    }

    #[test]
    fn listed_names_and_addresses_pass() {
        for host in [
            "wall.example",
            "Wall.EXAMPLE:8080",
            "wall.example.:80",
            "wall.example.",
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "192.168.1.7:8080",
            "[::1]:80",
            "[fd00::7]",
        ] {
            assert!(allows(&["panel.example", "wall.example"], host), "{host}");
        }
    }

    #[test]
    fn other_names_do_not_pass() {
        for host in [
            "rebind.example",
            "wall.example.rebind.example",
            "xwall.example",
            "wall.example..",
            "a.wall.example",
            "wall",
            "x.localhost",
            "localhost.rebind.example",
            "127.0.0.1.rebind.example",
            "1.2.3",
            "0x7f.0.0.1",
            "2130706433",
            "wall%2eexample",
        ] {
            assert!(!allows(&["wall.example"], host), "{host}");
            assert!(allows(&[], host), "{host}");
        }
    }
}
