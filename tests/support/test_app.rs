//! The whole service on a free port, as the tests that look from outside need it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use resumen::app::{AppService, ServiceOptions};
use resumen::config::{Config, parse};
use resumen::fetch::HttpFetch;
use resumen::process::Clock;
use resumen::server::HttpListener;
use serde_json::Value;

/// How long a test waits for what must come soon.
pub const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// A running service, stopped when dropped.
pub struct TestApp {
    /// Where it listens.
    pub address: SocketAddr,
    /// The service itself.
    pub service: AppService,
}

/// An answer as a client sees it.
#[derive(Debug)]
pub struct TestResponse {
    /// The status.
    pub status: u16,
    /// The head, lower-cased names kept as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A valid configuration, or its problems as a panic.
pub fn parse_test_config(text: &str) -> Config {
    parse(Path::new("resumen.toml"), text.as_bytes(), &|_| None)
        .unwrap_or_else(|report| panic!("{report}"))
}

/// A configuration of fetched sources without a state file: name and URL of each.
pub fn source_tables(list: &[(&str, String)]) -> String {
    let one = |(name, url): &(&str, String)| format!("[sources.{name}]\nurl = \"{url}\"\n");
    let all: String = list.iter().map(one).collect();
    format!("[store]\npath = \"\"\n{all}")
}

impl TestApp {
    /// Starts what `text` configures, on a free port of 127.0.0.1.
    pub fn start(text: &str) -> Self {
        Self::start_with_config(&parse_test_config(text))
    }

    /// Starts what `text` configures, at this address.
    pub fn start_at(address: SocketAddr, text: &str) -> Self {
        Self::start_on(address, &parse_test_config(text))
    }

    /// Starts this configuration, on a free port of 127.0.0.1.
    pub fn start_with_config(config: &Config) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), config)
    }

    fn start_on(address: SocketAddr, config: &Config) -> Self {
        let listener = HttpListener::bind(address, false).unwrap();
        let service = AppService::start(
            config,
            ServiceOptions {
                listener,
                clock: Clock::start(),
                revision: "",
                filter_program: env!("CARGO_BIN_EXE_resumen").into(),
            },
        )
        .unwrap();
        Self {
            address: service.address(),
            service,
        }
    }

    /// Starts this configuration with this way of asking providers.
    pub fn start_with_fetch(config: &Config, fetch: HttpFetch) -> Self {
        let listener = HttpListener::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let start = ServiceOptions {
            listener,
            clock: Clock::start(),
            revision: "",
            filter_program: env!("CARGO_BIN_EXE_resumen").into(),
        };
        let service = AppService::with_fetch(config, start, fetch).unwrap();
        Self {
            address: service.address(),
            service,
        }
    }

    /// One request on a connection of its own.
    pub fn get(&self, path: &str) -> TestResponse {
        self.send_raw(&format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        ))
    }

    /// These bytes on a connection of their own; the answer to its end.
    pub fn send_raw(&self, request: &str) -> TestResponse {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT * 4)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        TestResponse::parse_bytes(&bytes)
    }

    /// The body of `path`, as JSON.
    pub fn get_json(&self, path: &str) -> Value {
        let reply = self.get(path);
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    /// The first answer of `path` that pleases `wanted`.
    pub fn wait_for_json(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let clock = Clock::start();
        let by = clock.instant() + WAIT_LIMIT;
        loop {
            let answer = self.get_json(path);
            if wanted(&answer) {
                return answer;
            }
            assert!(clock.instant() < by, "never came: {answer:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl TestResponse {
    fn parse_bytes(bytes: &[u8]) -> Self {
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
