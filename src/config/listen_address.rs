//! The address of a listening socket: `listen`, `--listen` and `RESUMEN_LISTEN`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// Maximum length of the path of a Unix socket, in bytes: `sun_path` of Linux less its NUL.
const MAX_UNIX_PATH: usize = 107;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port. The address `[::]` stands for every address of the machine, IPv4
    /// included.
    Ip(SocketAddr),
    /// The path of a Unix socket; a relative one starts at the working directory.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The IP address and port; `None` for a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The address that `text` spells. The error says what is accepted.
///
/// ```
/// use resumen::config::parse_listen;
///
/// assert_eq!(parse_listen(":80").unwrap().to_string(), "[::]:80");
/// assert_eq!(parse_listen("unix:/run/a.sock").unwrap().to_string(), "unix:/run/a.sock");
/// assert_eq!(parse_listen("8080").unwrap_err(), "did you mean `:8080`?");
/// ```
pub fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return parse_unix_path(path);
    }
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::Ip(address));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("no host", text));
    let ip: Option<IpAddr> = match host {
        "" => Some(Ipv6Addr::UNSPECIFIED.into()),
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    };
    // The digits are checked because `u16` also parses a sign.
    let number = port.bytes().all(|b| b.is_ascii_digit());
    let number = number.then(|| port.parse().ok()).flatten();
    match (ip, number) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(ip, port).into()),
        (None, Some(port)) if matches!(host, "no host" | "*") => {
            Err(format!("did you mean `:{port}`?"))
        }
        _ if text.starts_with('/') => Err(format!("did you mean `unix:{text}`?")),
        _ => Err(
            "expected an address and a port from 0 to 65535, such as `0.0.0.0:8080`, \
                  `[::1]:8080`, `localhost:8080` or `:8080`, or `unix:/run/resumen/http.sock`"
                .into(),
        ),
    }
}

fn parse_unix_path(path: &str) -> Result<ListenAddress, String> {
    if let Some(rest) = path.strip_prefix("//") {
        return Err(format!(
            "did you mean `unix:/{}`?",
            rest.trim_start_matches('/')
        ));
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err("expected the path of a socket, such as `unix:/run/resumen/http.sock`".into());
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(format!("expected a path of at most {MAX_UNIX_PATH} bytes"));
    }
    Ok(ListenAddress::Unix(path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_forms_are_parsed() {
        for (text, address) in [
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("[::1]:0", "[::1]:0"),
            (":8080", "[::]:8080"),
            ("localhost:80", "127.0.0.1:80"),
            ("unix:/run/resumen/http.sock", "unix:/run/resumen/http.sock"),
            ("unix:http.sock", "unix:http.sock"),
        ] {
            let parsed = parse_listen(text).map(|address| address.to_string());
            assert_eq!(parsed, Ok(address.to_owned()), "{text}");
        }
    }

    #[test]
    fn bad_listen_has_suggestion() {
        for (text, help) in [
            ("8080", "`:8080`"),
            ("*:8080", "`:8080`"),
            ("/run/a.sock", "`unix:/run/a.sock`"),
            ("unix:///run/a.sock", "`unix:/run/a.sock`"),
            ("unix:", "path of a socket"),
            ("unix:/run/", "path of a socket"),
            ("localhost", "`localhost:8080`"),
            (":+80", "from 0 to 65535"),
            (":65536", "from 0 to 65535"),
            ("::1:80x", "from 0 to 65535"),
            ("example.org:80", "from 0 to 65535"),
        ] {
            let error = parse_listen(text).unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
        assert!(parse_listen(&format!("unix:/{}", "a".repeat(107))).is_err());
    }
}
