//! Scenarios as data: what a provider does, how it is asked, and what must come of it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::{FaultServer, Kind, Playbook, Script, script};

/// One row of the table of faults.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "columns of a table, not states of a thing"
)]
pub struct Scenario {
    /// What happens, in words; unique.
    pub name: String,
    /// What the provider plays on its first connection, and on later ones unless `later` is given.
    #[serde(default)]
    answer: Vec<String>,
    /// What it plays on later connections.
    later: Option<Vec<String>>,
    /// TLS with this kind of certificate.
    pub tls: Option<Kind>,
    /// Asked over TLS although the provider speaks plainly.
    #[serde(default)]
    https: bool,
    /// Nobody listens, or nobody answers a SYN.
    port: Option<Port>,

    /// The host in the URL. Default: 127.0.0.1
    #[serde(default = "loopback")]
    pub host: String,
    /// What the lookup of that host gives. Default: 127.0.0.1
    #[serde(default = "Lookup::loopback")]
    pub lookup: Lookup,
    /// `allow_private`
    #[serde(default)]
    pub allow_private: bool,
    /// Whether the test authority is in `ca_file`.
    #[serde(default)]
    pub ca: bool,
    /// Default: GET
    pub method: Option<String>,
    /// `timeout`. Default: 2s
    timeout: Option<String>,
    /// `max_body` in bytes. Default: 1 MiB
    pub max_body: Option<u64>,

    /// The code of the source's failure; none if there is none.
    pub code: Option<String>,
    /// The failure is the extraction's: the fetch succeeds.
    #[serde(default)]
    extraction: bool,
    /// Each is part of the message.
    #[serde(default)]
    pub says: Vec<String>,
    /// None is part of the message.
    #[serde(default)]
    pub hides: Vec<String>,
    /// The body that is given on, if there is no failure of the fetch.
    pub data: Option<String>,
    /// The source's data as the service shows it. Default: `data`
    pub shown: Option<String>,
    /// Seconds for which the provider is left alone.
    pub hold: Option<u64>,
    /// Connections that the provider saw.
    pub connections: Option<u64>,
    /// Requests that the provider saw.
    pub requests: Option<u64>,
    /// The most bytes that the provider managed to send.
    pub sent: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Port {
    Closed,
    BlackHole,
}

/// What a name lookup does.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Lookup {
    /// It finds these.
    Finds(Vec<std::net::IpAddr>),
    /// It never ends (`silent`), or ends in these words.
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fault: Vec<Scenario>,
}

/// Every scenario of `tests/corpus/faults`, by file name and order in the file.
pub fn all() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/faults");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        toml::from_str::<File>(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .fault
    };
    files.iter().flat_map(read).collect()
}

impl Scenario {
    /// Starts the provider.
    pub async fn serve(&self) -> FaultServer {
        self.serve_after(None).await
    }

    /// Starts the provider; each connection plays `prelude`, if there is one, until the server is turned.
    pub async fn serve_after(&self, prelude: Option<Script>) -> FaultServer {
        match self.port {
            Some(Port::Closed) => FaultServer::closed(),
            Some(Port::BlackHole) => FaultServer::black_hole(),
            None => {
                let lists = std::iter::once(&self.answer).chain(&self.later);
                let scripts = lists.map(|lines| Script::parse(lines)).collect();
                FaultServer::start(Playbook {
                    scripts,
                    tls: self.tls,
                    prelude,
                })
                .await
            }
        }
    }

    /// Where the provider is asked.
    pub fn url(&self, server: &FaultServer) -> String {
        let scheme = if self.https || self.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}:{}/value", self.host, server.address.port())
    }

    /// The deadline of an attempt.
    pub fn timeout(&self) -> Duration {
        self.timeout
            .as_deref()
            .map_or(Duration::from_secs(2), script::duration)
    }

    /// Whether the provider would be heard if it answered soundly: not if nobody gets through to it, or trusts it, or if
    /// it is asked for no body.
    pub fn can_be_good(&self) -> bool {
        let deaf = [
            "dns_failed",
            "connect_refused",
            "connect_timeout",
            "connect_failed",
            "tls_failed",
            "destination_blocked",
        ];
        let plain = !self.https || self.tls.is_some();
        plain
            && self.method.is_none()
            && !self
                .code
                .as_deref()
                .is_some_and(|code| deaf.contains(&code))
    }

    /// Whether the fetch itself succeeds, whatever the extraction says to the body.
    pub fn fetches(&self) -> bool {
        self.code.is_none() || self.extraction
    }
}

impl Lookup {
    /// Whether it never ends.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Word(word) if word == "silent")
    }

    fn loopback() -> Self {
        Self::Finds(vec![[127, 0, 0, 1].into()])
    }
}

fn loopback() -> String {
    "127.0.0.1".into()
}
