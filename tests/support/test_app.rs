//! The whole service in this process, on a free port.

use std::net::SocketAddr;
use std::path::Path;

use resumen::app::{AppService, ServiceOptions};
use resumen::config::{Config, parse};
use resumen::domain::Redactor;
use resumen::fetch::HttpFetch;
use resumen::process::Clock;
use resumen::server::{HttpListener, HttpListeners};
use serde_json::Value;

use super::http_reply::{HttpReply, http_get, send_request};
use super::wait::wait_for;

/// A running service, stopped when dropped.
pub struct TestApp {
    pub address: SocketAddr,
    pub service: AppService,
}

/// Parses a configuration. Panics with its problems.
pub fn parse_test_config(text: &str) -> Config {
    let parsed = parse(Path::new("resumen.toml"), text.as_bytes(), &|_| None);
    parsed.unwrap_or_else(|report| panic!("{report}"))
}

/// A configuration without a state file whose sources have these names and URLs.
pub fn source_tables(sources: &[(&str, String)]) -> String {
    let table = |(name, url): &(&str, String)| format!("[sources.{name}]\nurl = \"{url}\"\n");
    let tables: String = sources.iter().map(table).collect();
    format!("[store]\npath = \"\"\n{tables}")
}

fn bind_admin(config: &Config) -> Option<HttpListener> {
    let address = config.server.admin_listen.as_ref()?;
    Some(HttpListener::bind(address, false).unwrap())
}

impl TestApp {
    /// Starts the service with this configuration text on a free port of 127.0.0.1.
    pub fn start(text: &str) -> Self {
        Self::start_with_config(&parse_test_config(text))
    }

    pub fn start_at(address: SocketAddr, text: &str) -> Self {
        Self::start_on(address, &parse_test_config(text), None)
    }

    pub fn start_with_config(config: &Config) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), config, None)
    }

    /// Starts the service with another HTTP client for providers.
    pub fn start_with_fetch(config: &Config, fetch: HttpFetch) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), config, Some(fetch))
    }

    fn start_on(address: SocketAddr, config: &Config, fetch: Option<HttpFetch>) -> Self {
        let options = ServiceOptions {
            listeners: HttpListeners {
                main: HttpListener::bind(&address.into(), false).unwrap(),
                admin: bind_admin(config),
            },
            clock: Clock::start(),
            revision: "",
            redactor: Redactor::new(config.secrets.clone()),
            filter_program: env!("CARGO_BIN_EXE_resumen").into(),
        };
        let service = match fetch {
            Some(fetch) => AppService::with_fetch(config, options, fetch),
            None => AppService::start(config, options),
        };
        let service = service.unwrap();
        Self {
            address: service.address().ip().unwrap(),
            service,
        }
    }

    /// Sends a GET on a new connection.
    pub fn get(&self, target: &str) -> HttpReply {
        http_get(&self.address.to_string(), target)
    }

    /// Sends these bytes on a new connection and reads until the server closes.
    pub fn send_raw(&self, request: &str) -> HttpReply {
        send_request(&self.address.to_string(), request)
    }

    #[track_caller]
    pub fn get_json(&self, target: &str) -> Value {
        self.get(target).json()
    }

    /// Requests `target` until the JSON of its response is wanted, and returns it.
    pub fn wait_for_json(&self, target: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(target, || {
            Some(self.get_json(target)).filter(|json| is_wanted(json))
        })
    }
}
