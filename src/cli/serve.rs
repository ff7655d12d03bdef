//! `serve`: the service until a signal.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use listenfd::ListenFd;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::arguments::{REVISION, Serve};
use super::configuration::{self, Origin};
use super::console::{self, Failed};
use super::reload;
use crate::app::{Service, Start};
use crate::clock::Clock;
use crate::config::{Config, duration_text};
use crate::domain::{Name, Pace, Source};
use crate::http::Listener;
use crate::shutdown::Signals;

/// More sources than this are not listed one by one at the start.
const LISTED: usize = 30;

/// Serves the configuration that was named.
pub(super) fn run(arguments: &Serve) -> Result<ExitCode, Failed> {
    let clock = Clock::start();
    let mask = console::log(clock, None)?;
    // Before any thread begins.
    let socket = handed_over()?;
    // Before anything that takes time, so that no signal finds nobody home.
    let signals = Signals::listen().context("failed to listen to signals")?;
    let origin = Origin::find(
        &arguments.configuration,
        arguments.listen.and_then(|listen| listen.0),
    );
    let config = origin.load()?;
    mask.replace(config.secrets.clone());
    if signals.drain.is_cancelled() {
        return Ok(ExitCode::SUCCESS);
    }
    let listener = socket.map_or_else(|| bind(config.server.listen, arguments.reuse_port), Ok)?;
    let service = start(&config, listener, clock)?;
    runtime_of(&service)?.block_on(reload::until_drained(
        &signals, &service, origin, mask, config,
    ));
    service.stop(&signals.end);
    Ok(ExitCode::SUCCESS)
}

/// The socket that a service manager listens on for this program (`LISTEN_FDS`), if it does. While one program ends and
/// the next begins, clients wait in its queue.
fn handed_over() -> anyhow::Result<Option<Listener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        warn!(
            sockets = sockets.len(),
            "only the first of the sockets that were handed over is used"
        );
    }
    let socket = sockets
        .take_tcp_listener(0)
        .context("failed to take over the socket of LISTEN_FDS")?;
    socket
        .map(Listener::adopt)
        .transpose()
        .context("failed to take over the socket of LISTEN_FDS")
}

/// Listens on `address`.
pub(super) fn bind(address: SocketAddr, side_by_side: bool) -> anyhow::Result<Listener> {
    Listener::bind(address, side_by_side).with_context(|| format!("failed to listen on {address}"))
}

/// Starts the service of a configuration, and tells what it will do.
pub(super) fn start(config: &Config, listener: Listener, clock: Clock) -> anyhow::Result<Service> {
    configuration::warn_of(config);
    tell(config);
    Service::start(
        config,
        Start {
            listener,
            clock,
            revision: REVISION,
        },
    )
}

/// Where a command waits for its service.
pub(super) fn runtime_of(service: &Service) -> anyhow::Result<Handle> {
    service
        .runtime()
        .cloned()
        .context("the service has stopped")
}

/// What will be asked, how often, and how many calls that makes.
fn tell(config: &Config) {
    let (config_path, sources) = (config.path.display(), config.sources.len());
    let calls: u64 = config
        .sources
        .iter()
        .filter_map(|source| source.pace())
        .map(calls_per_day)
        .sum();
    info!(version = env!("CARGO_PKG_VERSION"), config = %config_path, sources, calls_per_day = calls, "starts");
    for source in config.sources.iter().take(LISTED) {
        tell_source(source);
    }
    if sources > LISTED {
        info!(more = sources - LISTED, "and more sources");
    }
}

fn tell_source(source: &Source) {
    let name = source.name.as_str();
    let Some(pace) = source.pace() else {
        let from: Vec<&str> = source.inputs().iter().map(Name::as_str).collect();
        info!(source = name, from = from.join(","), "computes");
        return;
    };
    let providers: Vec<&str> = source
        .providers()
        .iter()
        .map(|provider| provider.name.as_str())
        .collect();
    info!(
        source = name,
        providers = providers.join(","),
        interval = duration_text(pace.interval),
        timeout = duration_text(pace.timeout),
        calls_per_day = calls_per_day(pace),
        "asks"
    );
}

/// By the schedule, while nothing fails.
fn calls_per_day(pace: &Pace) -> u64 {
    const DAY: f64 = 86_400.0;
    (DAY / pace.interval.as_secs_f64()).round() as u64
}
