//! Floor 2: text → raw types → validated types; every problem at once with its place.
//!
//! A file goes through four hands. `raw` reads the tree of TOML key by key (`section`), with types and places, and
//! expands `${…}` (`expand`); `validate` makes domain types of it, with inheritance and every rule between keys;
//! `diagnostics` puts each problem beside its line; `load` leads from one to the next. None of them stops at the first
//! problem.
//!
//! Imports `domain` and `extract`. It never opens a socket.

mod context;
mod diagnostics;
mod expand;
mod files;
mod footprint;
mod load;
mod place;
mod problems;
mod raw;
mod restart;
mod secrets;
mod section;
mod units;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Secrets, Source};
use crate::extract::Filters;

pub use diagnostics::{Place, Problem, Report, Severity};
pub use footprint::Footprint;
pub use load::{find, load, parse};
pub use units::duration_text;
pub use validate::parse_listen;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it came from.
    pub path: PathBuf,
    /// That file and those that it names, as they were read.
    pub read_from: Footprint,
    /// How to serve.
    pub server: Server,
    /// Where readings survive.
    pub store: Store,
    /// What to serve, in the file's order: fetched sources, then derived ones.
    pub sources: Vec<Arc<Source>>,
    /// The filters of all of them.
    pub filters: Filters,
    /// What must never be shown.
    pub secrets: Secrets,
    /// What is allowed but unwise.
    pub warnings: Vec<Problem>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
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
pub struct Store {
    /// The state file, relative to the working directory; none turns it off. Default: state/resumen.json
    pub path: Option<PathBuf>,
    /// The Redis that replicas share. Default: none
    pub redis: Option<String>,
    /// What its keys begin with. Default: resumen
    pub redis_prefix: String,
}
