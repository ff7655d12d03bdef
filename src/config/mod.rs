//! Floor 2: text → raw types → validated types; every problem at once with its place.
//!
//! A file goes through four hands. `raw` reads the tree of TOML key by key (`section`), with types and places, and
//! expands `${…}` (`expand`); `validate` makes domain types of it, with inheritance and every rule between keys;
//! `diagnostics` puts each problem beside its line; `load` leads from one to the next. None of them stops at the first
//! problem.
//!
//! Imports `domain` and `extract`. It never opens a socket.

mod config_problems;
mod diagnostics;
mod expand;
mod files;
mod fingerprint;
mod load;
mod loader;
mod raw_config;
mod restart_keys;
mod secrets;
mod span;
mod table_reader;
mod units;
mod validate;

pub use diagnostics::{ConfigError, ConfigProblem, FileLocation, Severity};
pub use fingerprint::FileFingerprints;
pub use load::{find_path, load, parse};
pub(crate) use loader::ConfigLoader;
pub(crate) use raw_config::{
    RawConfig, RawDerived, RawProvider, RawRequest, RawServer, RawSource, RawStore, RawTiming,
    expected_section,
};
pub(crate) use table_reader::{SpannedStr, SpannedValue, closest_match, quote};
pub use units::format_duration;
pub use validate::parse_listen;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{SecretSet, Source};
use crate::extract::FilterCache;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it came from.
    pub path: PathBuf,
    /// That file and those that it names, as they were read.
    pub fingerprints: FileFingerprints,
    /// How to serve.
    pub server: ServerSettings,
    /// Where readings survive.
    pub store: StoreSettings,
    /// What to serve, in the file's order: fetched sources, then derived ones.
    pub sources: Vec<Arc<Source>>,
    /// Maximum number of concurrent calls to one host and port. Default: 6
    pub max_per_host: usize,
    /// The filters of all of them.
    pub filters: FilterCache,
    /// What must never be shown.
    pub secrets: SecretSet,
    /// What is allowed but unwise.
    pub warnings: Vec<ConfigProblem>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where to listen. Default: 0.0.0.0:8080
    pub listen: SocketAddr,
    /// Of a live answer without `timeout=`. Default: 4 s
    pub default_timeout: Duration,
    /// The largest `timeout=` allowed. Default: 30 s
    pub max_timeout: Duration,
    /// Open connections at most. Default: 10,000
    pub max_connections: usize,
    /// From connecting to the end of a request's headers. Default: 10 s
    pub header_timeout: Duration,
    /// Of a kept-alive connection without a request. Default: 75 s
    pub idle_timeout: Duration,
    /// From a signal to the hard end. Default: 10 s
    pub shutdown_grace: Duration,
    /// Exact origins, or `*`. Default: none
    pub cors_origins: Vec<String>,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The state file, relative to the working directory; none turns it off. Default: state/resumen.json
    pub path: Option<PathBuf>,
    /// The Redis that replicas share. Default: none
    pub redis: Option<String>,
    /// What its keys begin with. Default: resumen
    pub redis_prefix: String,
}
