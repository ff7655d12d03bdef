//! Scenarios as data: what a provider does, how it is asked, and what must come of it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::fault_script::FaultScript;
use super::test_certificates::CertificateKind;
use super::{FaultPlan, FaultyProvider, fault_script};

/// One row of the table of faults.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "columns of a table, not states of a thing"
)]
pub struct FaultScenario {
    /// What happens, in words; unique.
    pub name: String,
    /// What the provider plays on its first connection, and on later ones unless `later` is given.
    #[serde(default)]
    answer: Vec<String>,
    /// What it plays on later connections.
    later: Option<Vec<String>>,
    /// TLS with this kind of certificate.
    pub tls: Option<CertificateKind>,
    /// Speaks HTTP/2 over TLS with a good certificate.
    #[serde(default)]
    http2: bool,
    /// Asked over TLS although the provider speaks plainly.
    #[serde(default)]
    https: bool,
    /// Nobody listens, or nobody answers a SYN.
    port: Option<UnreachablePort>,

    /// The host in the URL. Default: 127.0.0.1
    #[serde(default = "default_host")]
    pub host: String,
    /// What the lookup of that host gives. Default: 127.0.0.1
    #[serde(default = "ScenarioLookup::default_lookup")]
    pub lookup: ScenarioLookup,
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
enum UnreachablePort {
    Closed,
    BlackHole,
}

/// What a name lookup does.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ScenarioLookup {
    /// It finds these.
    Finds(Vec<std::net::IpAddr>),
    /// It never ends (`silent`), or ends in these words.
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    fault: Vec<FaultScenario>,
}

/// Every scenario of `tests/corpus/faults`, by file name and order in the file.
pub fn load_scenarios() -> Vec<FaultScenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/faults");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        toml::from_str::<ScenarioFile>(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .fault
    };
    files.iter().flat_map(read).collect()
}

impl FaultScenario {
    /// Starts the provider.
    pub async fn start_provider(&self) -> FaultyProvider {
        self.start_provider_after(None).await
    }

    /// Starts the provider; each connection plays `prelude`, if there is one, until the server is turned.
    pub async fn start_provider_after(&self, prelude: Option<FaultScript>) -> FaultyProvider {
        match self.port {
            Some(UnreachablePort::Closed) => FaultyProvider::with_closed_port(),
            Some(UnreachablePort::BlackHole) => FaultyProvider::with_unanswered_syn(),
            None => {
                let lists = std::iter::once(&self.answer).chain(&self.later);
                let scripts = lists.map(|lines| FaultScript::parse(lines)).collect();
                FaultyProvider::start(FaultPlan {
                    scripts,
                    tls: self.tls.or(self.http2.then_some(CertificateKind::Good)),
                    is_http2: self.http2,
                    prelude,
                })
                .await
            }
        }
    }

    /// Where the provider is asked.
    pub fn url(&self, server: &FaultyProvider) -> String {
        let scheme = if self.https || self.http2 || self.tls.is_some() {
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
            .map_or(Duration::from_secs(2), fault_script::parse_script_duration)
    }

    /// Whether the provider would be heard if it answered soundly: not if nobody gets through to it, or trusts it, or if
    /// it is asked for no body.
    pub fn can_answer_prelude(&self) -> bool {
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
            && !self.http2
            && self.method.is_none()
            && !self
                .code
                .as_deref()
                .is_some_and(|code| deaf.contains(&code))
    }

    /// Whether the source trusts the test authority.
    pub fn trusts_test_ca(&self) -> bool {
        self.ca || self.http2
    }

    /// Whether the fetch itself succeeds, whatever the extraction says to the body.
    pub fn is_fetch_successful(&self) -> bool {
        self.code.is_none() || self.extraction
    }
}

impl ScenarioLookup {
    /// Whether it never ends.
    pub fn never_resolves(&self) -> bool {
        matches!(self, Self::Word(word) if word == "silent")
    }

    fn default_lookup() -> Self {
        Self::Finds(vec![[127, 0, 0, 1].into()])
    }
}

fn default_host() -> String {
    "127.0.0.1".into()
}
