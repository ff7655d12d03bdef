//! `serve`: the service until a signal.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::arguments::{REVISION, ServeArguments};
use super::load_config;
use super::load_config::ConfigLocation;
use super::reload_task;
use super::terminal;
use super::terminal::CommandError;
use crate::app::{AppService, ServiceOptions};
use crate::config::{Config, format_duration};
use crate::domain::{Name, Schedule, SecretSet, Source};
use crate::extract::{Extractor, own_program};
use crate::process::Clock;
use crate::process::ProcessSignals;
use crate::server::HttpListener;

/// How long the check of the filter workers may take: a worker answers within milliseconds.
const WORKER_CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// More sources than this are not listed one by one at the start.
const MAX_LOGGED_SOURCES: usize = 30;

/// Serves the configuration that was named.
pub(super) fn run(arguments: &ServeArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    let mask = terminal::init_logging(clock, None)?;
    // Before any thread begins.
    let socket = inherit_listener()?;
    // Before anything that takes time, so that no signal finds nobody home.
    let signals = ProcessSignals::listen().context("failed to listen to signals")?;
    let origin = ConfigLocation::find(
        &arguments.configuration,
        arguments.listen.and_then(|listen| listen.0),
    );
    let config = origin.require_config()?;
    mask.replace_secrets(config.secrets.clone());
    if signals.drain.is_cancelled() {
        return Ok(ExitCode::SUCCESS);
    }
    let listener = socket.map_or_else(
        || bind_listener(config.server.listen, arguments.reuse_port),
        Ok,
    )?;
    let service = start_service(&config, listener, clock)?;
    service_runtime(&service)?.block_on(reload_task::reload_until_drain(
        &signals, &service, origin, mask, config,
    ));
    service.stop(&signals.force_stop);
    Ok(ExitCode::SUCCESS)
}

/// The socket that a service manager listens on for this program (`LISTEN_FDS`), if it does. While one program ends and
/// the next begins, clients wait in its queue.
fn inherit_listener() -> anyhow::Result<Option<HttpListener>> {
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
        .map(HttpListener::from_std)
        .transpose()
        .context("failed to take over the socket of LISTEN_FDS")
}

/// Listens on `address`.
pub(super) fn bind_listener(
    address: SocketAddr,
    side_by_side: bool,
) -> anyhow::Result<HttpListener> {
    HttpListener::bind(address, side_by_side)
        .with_context(|| format!("failed to listen on {address}"))
}

/// Starts the service of a configuration, and tells what it will do.
pub(super) fn start_service(
    config: &Config,
    listener: HttpListener,
    clock: Clock,
) -> anyhow::Result<AppService> {
    load_config::log_warnings(config);
    check_filter_workers(clock)?;
    log_startup(config);
    AppService::start(
        config,
        ServiceOptions {
            listener,
            clock,
            revision: REVISION,
            filter_program: own_program(),
        },
    )
}

/// Fails unless a filter can be evaluated in a process of its own: without one every source would fail.
fn check_filter_workers(clock: Clock) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    let extractor = Extractor::new(own_program(), SecretSet::default());
    let checked = runtime.block_on(async {
        extractor
            .check_workers(clock.deadline(WORKER_CHECK_TIMEOUT))
            .await
    });
    checked.map_err(|failure| {
        anyhow::anyhow!(
            "no filter can be evaluated: {}; the service starts its own program again for that, which \
             a file system mounted noexec, a security profile or a limit of processes may forbid",
            failure.message
        )
    })
}

/// Where a command waits for its service.
pub(super) fn service_runtime(service: &AppService) -> anyhow::Result<Handle> {
    service
        .runtime()
        .cloned()
        .context("the service has stopped")
}

/// What will be asked, how often, and how many calls that makes.
fn log_startup(config: &Config) {
    let (config_path, sources) = (config.path.display(), config.sources.len());
    let calls: u64 = config
        .sources
        .iter()
        .filter_map(|source| source.schedule())
        .map(calls_per_day)
        .sum();
    info!(version = env!("CARGO_PKG_VERSION"), config = %config_path, sources, calls_per_day = calls, "starts");
    for source in config.sources.iter().take(MAX_LOGGED_SOURCES) {
        log_source(source);
    }
    if sources > MAX_LOGGED_SOURCES {
        info!(more = sources - MAX_LOGGED_SOURCES, "and more sources");
    }
}

fn log_source(source: &Source) {
    let name = source.name.as_str();
    let Some(pace) = source.schedule() else {
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
        interval = format_duration(pace.interval),
        timeout = format_duration(pace.timeout),
        calls_per_day = calls_per_day(pace),
        "asks"
    );
}

/// By the schedule, while nothing fails.
fn calls_per_day(pace: &Schedule) -> u64 {
    const DAY: f64 = 86_400.0;
    (DAY / pace.interval.as_secs_f64()).round() as u64
}
