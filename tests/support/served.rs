//! The whole service on a free port, as the tests that look from outside need it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use resumen::app::{Service, Start};
use resumen::clock::Clock;
use resumen::config::{Config, parse};
use resumen::fetch::HttpFetch;
use resumen::http::Listener;
use serde_json::Value;

/// How long a test waits for what must come soon.
pub const SOON: Duration = Duration::from_secs(10);

/// A running service, stopped when dropped.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    /// The service itself.
    pub service: Service,
}

/// An answer as a client sees it.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The head, lower-cased names kept as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A valid configuration, or its problems as a panic.
pub fn config(text: &str) -> Config {
    parse(Path::new("resumen.toml"), text.as_bytes(), &|_| None)
        .unwrap_or_else(|report| panic!("{report}"))
}

/// A configuration of fetched sources without a state file: name and URL of each.
pub fn sources(list: &[(&str, String)]) -> String {
    let one = |(name, url): &(&str, String)| format!("[sources.{name}]\nurl = \"{url}\"\n");
    let all: String = list.iter().map(one).collect();
    format!("[store]\npath = \"\"\n{all}")
}

impl Served {
    /// Starts what `text` configures, on a free port of 127.0.0.1.
    pub fn start(text: &str) -> Self {
        Self::of(&config(text))
    }

    /// Starts what `text` configures, at this address.
    pub fn at(address: SocketAddr, text: &str) -> Self {
        Self::on(address, &config(text))
    }

    /// Starts this configuration, on a free port of 127.0.0.1.
    pub fn of(config: &Config) -> Self {
        Self::on(([127, 0, 0, 1], 0).into(), config)
    }

    fn on(address: SocketAddr, config: &Config) -> Self {
        let listener = Listener::bind(address, false).unwrap();
        let service = Service::start(
            config,
            Start {
                listener,
                clock: Clock::start(),
                revision: "",
            },
        )
        .unwrap();
        Self {
            address: service.address(),
            service,
        }
    }

    /// Starts this configuration with this way of asking providers.
    pub fn with_fetch(config: &Config, fetch: HttpFetch) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let start = Start {
            listener,
            clock: Clock::start(),
            revision: "",
        };
        let service = Service::with_fetch(config, start, fetch).unwrap();
        Self {
            address: service.address(),
            service,
        }
    }

    /// One request on a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        ))
    }

    /// These bytes on a connection of their own; the answer to its end.
    pub fn ask(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON * 4)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Reply::read(&bytes)
    }

    /// The body of `path`, as JSON.
    pub fn json(&self, path: &str) -> Value {
        let reply = self.get(path);
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    /// The first answer of `path` that pleases `wanted`.
    pub fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let clock = Clock::start();
        let by = clock.instant() + SOON;
        loop {
            let answer = self.json(path);
            if wanted(&answer) {
                return answer;
            }
            assert!(clock.instant() < by, "never came: {answer:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Reply {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}
