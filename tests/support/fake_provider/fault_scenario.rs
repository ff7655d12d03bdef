//! Fault scenarios of `tests/corpus/faults`: what a provider does, the request, and the expected
//! failure.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::script::ProviderScript;
use super::test_certificates::{CertificateKind, shared_certificate, test_ca_pem};
use super::{FakeProvider, ProviderPlan, script};

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "columns of a table, not states of one object"
)]
pub struct FaultScenario {
    /// A unique description.
    pub name: String,
    /// The script of the first connection, and of later ones unless `later` is given.
    #[serde(default)]
    answer: Vec<String>,
    /// The script of later connections.
    later: Option<Vec<String>>,
    /// The certificate for TLS. Default: plain TCP.
    pub tls: Option<CertificateKind>,
    /// The provider speaks HTTP/2 over TLS with a good certificate.
    #[serde(default)]
    http2: bool,
    /// The URL is `https`, although the provider speaks plain TCP.
    #[serde(default)]
    https: bool,
    /// The port accepts no connection.
    port: Option<UnreachablePort>,

    /// The host in the URL. Default: 127.0.0.1
    #[serde(default = "default_host")]
    pub host: String,
    /// The result of the lookup of that host. Default: 127.0.0.1
    #[serde(default = "ScenarioLookup::default_lookup")]
    pub lookup: ScenarioLookup,
    /// `allow_private`
    #[serde(default)]
    pub allow_private: bool,
    /// Whether `ca_file` has the test authority.
    #[serde(default)]
    pub ca: bool,
    /// Whether `ca_file` has the certificate of the server.
    #[serde(default)]
    pub own: bool,
    /// `tls_server_name`
    pub server_name: Option<String>,
    /// Default: GET
    pub method: Option<String>,
    /// `timeout`. Default: 2s
    timeout: Option<String>,
    /// `max_body` in bytes. Default: 1 MiB
    pub max_body: Option<u64>,

    /// The code of the source's failure. Default: no failure.
    pub code: Option<String>,
    /// The fetch succeeds and the extraction fails.
    #[serde(default)]
    extraction: bool,
    /// Parts of the message.
    #[serde(default)]
    pub says: Vec<String>,
    /// Texts that the message must not contain.
    #[serde(default)]
    pub hides: Vec<String>,
    /// The body that a successful fetch returns.
    pub data: Option<String>,
    /// The source's data in responses. Default: `data`
    pub shown: Option<String>,
    /// Seconds until the provider may be called again.
    pub hold: Option<u64>,
    /// Expected number of connections.
    pub connections: Option<usize>,
    /// Expected number of requests.
    pub requests: Option<usize>,
    /// Maximum number of bytes that the provider can send.
    pub sent: Option<usize>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UnreachablePort {
    Closed,
    BlackHole,
}

/// The result of a name lookup.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ScenarioLookup {
    Finds(Vec<std::net::IpAddr>),
    /// An error message, or `silent` for a lookup that never ends.
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    fault: Vec<FaultScenario>,
}

/// All scenarios, in the order of files and lines.
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
    pub fn start_provider(&self) -> FakeProvider {
        self.start_provider_after(None)
    }

    /// Starts the provider with a prelude.
    pub fn start_provider_after(&self, prelude: Option<ProviderScript>) -> FakeProvider {
        match self.port {
            Some(UnreachablePort::Closed) => FakeProvider::with_closed_port(),
            Some(UnreachablePort::BlackHole) => FakeProvider::with_unanswered_syn(),
            None => {
                let lists = std::iter::once(&self.answer).chain(&self.later);
                let scripts = lists.map(|lines| ProviderScript::parse(lines)).collect();
                FakeProvider::start(ProviderPlan {
                    scripts,
                    tls: self.tls.or(self.http2.then_some(CertificateKind::Good)),
                    is_http2: self.http2,
                    prelude,
                    tls_config: None,
                })
            }
        }
    }

    pub fn url(&self, provider: &FakeProvider) -> String {
        let scheme = if self.https || self.http2 || self.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}:{}/value", self.host, provider.address.port())
    }

    /// The time limit of an attempt.
    pub fn timeout(&self) -> Duration {
        self.timeout
            .as_deref()
            .map_or(Duration::from_secs(2), script::parse_script_duration)
    }

    /// Whether a sound response of the provider reaches the source: not if the connection fails, or
    /// if the response has no body.
    pub fn can_answer_prelude(&self) -> bool {
        let unreachable = [
            "dns_failed",
            "connect_refused",
            "connect_timeout",
            "connect_failed",
            "tls_failed",
            "destination_blocked",
        ];
        let fails_to_connect = self
            .code
            .as_deref()
            .is_some_and(|code| unreachable.contains(&code));
        let speaks_same = !self.http2 && (!self.https || self.tls.is_some());
        speaks_same && self.method.is_none() && !fails_to_connect
    }

    /// The content of `ca_file`.
    pub fn ca_pem(&self) -> Option<String> {
        match self.tls {
            Some(kind) if self.own => Some(shared_certificate(kind).0.pem()),
            _ => (self.ca || self.http2).then(test_ca_pem),
        }
    }

    /// Whether the fetch succeeds, with or without the extraction.
    pub fn is_fetch_successful(&self) -> bool {
        self.code.is_none() || self.extraction
    }
}

impl ScenarioLookup {
    /// Whether the lookup never ends.
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
