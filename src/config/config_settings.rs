//! A valid configuration: the settings of `[server]` and `[store]`, and the sources.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::domain::{AuthDefinition, SecretSet, Source};
use crate::extract::FilterCache;

use super::access_settings::{AccessToken, LiveAccess};
use super::diagnostics::ConfigProblem;
use super::fingerprint::FileFingerprints;
use super::keys::{Section, section_keys};
use super::listen_address::ListenAddress;
use super::server_tls::ServerTls;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Path of the file.
    pub path: PathBuf,
    /// The file and the files that it names, as they were read.
    pub fingerprints: FileFingerprints,
    /// `[server]`
    pub server: ServerSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[auth.NAME]`, in the order of the file.
    pub auths: Vec<Arc<AuthDefinition>>,
    /// The fetched sources in the order of the file, then the derived ones.
    pub sources: Vec<Arc<Source>>,
    /// Maximum number of concurrent calls to one host and port. Default: 6
    pub max_per_host: usize,
    /// The compiled filters of all sources.
    pub filters: FilterCache,
    /// Values that must be redacted in every message.
    pub secrets: SecretSet,
    /// Those of them that data may show: literal parameters of requests whose names name no credential.
    pub plain_values: BTreeSet<String>,
    /// Valid values that are probably mistakes.
    pub warnings: Vec<ConfigProblem>,
}

/// The keys of `[server]`; a field has the name of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerSettings {
    /// Address to listen on. Default: 0.0.0.0:8080.
    pub listen: ListenAddress,
    /// Address of the reports to operators, which `listen` then does not answer. Default: none.
    pub admin_listen: Option<ListenAddress>,
    /// Deadline of a live answer without `timeout=`. Default: 4 s.
    pub default_timeout: Duration,
    /// The largest accepted `timeout=`. Default: 30 s.
    pub max_timeout: Duration,
    /// Maximum number of open connections. Default: 10,000.
    pub max_connections: usize,
    /// Maximum time from a connection's start to the end of its first request's headers. Default: 10 s.
    pub header_timeout: Duration,
    /// Maximum time that a kept-alive connection waits for its next request. Default: 75 s.
    pub idle_timeout: Duration,
    /// Maximum time from the signal to the end of the process. Default: 10 s.
    pub shutdown_grace: Duration,
    /// Exact origins, or `*` alone. Default: none.
    pub cors_origins: Vec<String>,
    /// Exact origins of the pages that may embed the panel, or `*` alone. Default: none.
    pub frame_ancestors: Vec<String>,
    /// Addresses of proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum number of open connections of one address; 0: no limit. Default: 0.
    pub max_per_client: usize,
    /// Whether each request is logged. Default: no.
    pub access_log: bool,
    /// Names allowed in `Host`, in lower case without a trailing dot. Default: none, which allows every name.
    pub hosts: Vec<String>,
    /// Who gets live answers. Default: everyone.
    pub live: LiveAccess,
    /// `[server.tokens.NAME]`. Default: none, which admits everyone.
    pub tokens: Vec<AccessToken>,
    /// Bytes on their way to clients. Default: `None`, an eighth of the container's memory limit.
    pub send_budget: Option<u64>,
    /// `[server.tls]`. Default: `None`, plain HTTP.
    pub tls: Option<ServerTls>,
}

/// The keys of `[store]`; a field has the name of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreSettings {
    /// The state file; a relative path starts at the working directory. `None` turns the file off. Default:
    /// `state/resumen.json`.
    pub path: Option<PathBuf>,
    /// URL of the Redis server that replicas share. Default: none.
    pub redis: Option<String>,
    /// PEM text of the authorities of Redis' certificate. Default: the public authorities.
    pub redis_ca_file: Option<String>,
    /// Prefix of the keys in Redis. Default: `resumen`.
    pub redis_prefix: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)).into(),
            admin_listen: None,
            default_timeout: Duration::from_secs(4),
            max_timeout: Duration::from_secs(30),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            shutdown_grace: Duration::from_secs(10),
            cors_origins: Vec::new(),
            frame_ancestors: Vec::new(),
            trusted_proxies: Vec::new(),
            max_per_client: 0,
            access_log: false,
            hosts: Vec::new(),
            live: LiveAccess::On,
            tokens: Vec::new(),
            send_budget: None,
            tls: None,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: Some("state/resumen.json".into()),
            redis: None,
            redis_ca_file: None,
            redis_prefix: "resumen".into(),
        }
    }
}

impl Config {
    /// The keys whose values differ in `new` although only a restart can change them: `server.listen`. Empty if a reload
    /// suffices.
    pub fn keys_needing_restart(&self, new: &Self) -> Vec<String> {
        let server = changed_keys("server", Section::Server, &self.server, &new.server);
        let store = changed_keys("store", Section::Store, &self.store, &new.store);
        server.chain(store).collect()
    }
}

/// The keys of a table that need a restart and have another value in `new`.
fn changed_keys<T: Serialize>(
    table: &str,
    section: Section,
    old: &T,
    new: &T,
) -> impl Iterator<Item = String> {
    // A settings type serialises to one member per key, under the key's name.
    let [old, new] = [old, new].map(|settings| serde_json::to_value(settings).unwrap_or_default());
    let fixed = section_keys(section).filter(|key| key.needs_restart);
    let changed = fixed.filter(move |key| old[key.name] != new[key.name]);
    changed.map(move |key| format!("{table}.{}", key.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_every_restart_key() {
        let server = serde_json::to_value(ServerSettings::default()).unwrap();
        let store = serde_json::to_value(StoreSettings::default()).unwrap();
        for (section, settings) in [(Section::Server, server), (Section::Store, store)] {
            for key in section_keys(section) {
                assert!(settings.get(key.name).is_some(), "{}", key.name);
            }
        }
    }
}
