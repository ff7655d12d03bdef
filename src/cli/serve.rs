//! `serve`: runs the service until a signal.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::arguments::{REVISION, ServeArguments};
use super::command::{self, CommandError};
use super::load_config::{ConfigLocation, log_problems};
use super::reload_task;
use crate::app::{AppService, ServiceOptions};
use crate::config::{Config, ListenAddress};
use crate::domain::{Name, Redactor, Schedule, Source};
use crate::extract::{Extractor, own_program};
use crate::process::{Clock, ProcessSignals};
use crate::server::{HttpListener, HttpListeners};
use crate::text::{UnitStyle, format_duration};

/// Time limit of the check of the filter workers. A worker answers within milliseconds.
const WORKER_CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum number of sources that are logged one by one at the start.
const MAX_LOGGED_SOURCES: usize = 30;

/// Runs the service with the configuration file of the arguments.
pub(super) fn run(arguments: &ServeArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    let redactor = command::init_logging(clock, None)?;
    // While the process has one thread: reading `LISTEN_FDS` changes the environment.
    let inherited = inherit_listener()?;
    // Before the slow steps: until then a signal kills the process without a drain.
    let signals = ProcessSignals::listen().context("failed to install the signal handlers")?;
    let listen = arguments.listen.clone().and_then(|listen| listen.0);
    let location = ConfigLocation::find(&arguments.configuration, listen);
    let config = location.require_config()?;
    redactor.replace_secrets(config.secrets.clone());
    // A signal during the reading: nothing has been started, so there is nothing to drain.
    if signals.drain.is_cancelled() {
        return Ok(ExitCode::SUCCESS);
    }
    let listener = match inherited {
        Some(listener) => listener,
        None => bind_listener(&config.server.listen, arguments.reuse_port)?,
    };
    let admin = config.server.admin_listen.as_ref();
    let listeners = HttpListeners {
        main: listener,
        admin: admin
            .map(|address| bind_listener(address, arguments.reuse_port))
            .transpose()?,
    };
    let service = start_service(&config, listeners, clock, redactor)?;
    service_runtime(&service)?.block_on(reload_task::reload_until_drain(
        &signals, &service, location, config,
    ));
    service.stop(&signals.force_stop);
    Ok(ExitCode::SUCCESS)
}

/// Returns the listening socket that the service manager passed in `LISTEN_FDS`, if any. It stays open across restarts,
/// so that clients wait in its backlog meanwhile.
fn inherit_listener() -> anyhow::Result<Option<HttpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        warn!(
            sockets = sockets.len(),
            "only the first inherited socket is used"
        );
    }
    let socket = sockets.take_tcp_listener(0);
    socket
        .and_then(|socket| socket.map(HttpListener::from_std).transpose())
        .context("failed to use the inherited socket of LISTEN_FDS")
}

/// Listens on `address`. With `reuse_port`, several processes share the port (`SO_REUSEPORT`).
pub(super) fn bind_listener(
    address: &ListenAddress,
    reuse_port: bool,
) -> anyhow::Result<HttpListener> {
    HttpListener::bind(address, reuse_port)
        .with_context(|| format!("failed to listen on {address}"))
}

/// Logs the configuration and starts its service.
pub(super) fn start_service(
    config: &Config,
    listeners: HttpListeners,
    clock: Clock,
    redactor: Redactor,
) -> anyhow::Result<AppService> {
    log_problems(&config.warnings);
    // Before the service starts its threads and calls a provider.
    check_filter_workers(clock)?;
    log_startup(config);
    let options = ServiceOptions {
        listeners,
        clock,
        revision: REVISION,
        redactor,
        filter_program: own_program(),
    };
    AppService::start(config, options)
}

/// Fails unless a filter can be evaluated in a worker process: without one, every source would fail.
fn check_filter_workers(clock: Clock) -> anyhow::Result<()> {
    let extractor = Extractor::new(own_program(), Redactor::default());
    let checked = command::build_small_runtime()?
        .block_on(extractor.check_workers(clock.deadline(WORKER_CHECK_TIMEOUT)));
    checked.map_err(|failure| {
        anyhow::anyhow!(
            "no filter can be evaluated: {}; the service starts its own program again for that, which \
             a file system mounted noexec, a security profile or a limit of processes may forbid",
            failure.message
        )
    })
}

/// Returns the runtime on which a command waits while its service runs.
pub(super) fn service_runtime(service: &AppService) -> anyhow::Result<Handle> {
    let runtime = service.runtime().cloned();
    runtime.context("the service has stopped")
}

fn log_startup(config: &Config) {
    let (config_path, sources) = (config.path.display(), config.sources.len());
    let schedules = config.sources.iter().filter_map(|source| source.schedule());
    let calls_per_day: u64 = schedules.map(Schedule::attempts_per_day).sum();
    info!(version = env!("CARGO_PKG_VERSION"), config = %config_path, sources, calls_per_day, "starting");
    for source in config.sources.iter().take(MAX_LOGGED_SOURCES) {
        log_source(source);
    }
    if sources > MAX_LOGGED_SOURCES {
        info!(
            more = sources - MAX_LOGGED_SOURCES,
            "more sources configured"
        );
    }
}

fn log_source(source: &Source) {
    let name = source.name.as_str();
    let Some(schedule) = source.schedule() else {
        let from: Vec<&str> = source.inputs().iter().map(Name::as_str).collect();
        info!(
            source = name,
            from = from.join(","),
            "derived source configured"
        );
        return;
    };
    let providers = source.providers().iter();
    let providers: Vec<&str> = providers.map(|provider| provider.name.as_str()).collect();
    info!(
        source = name,
        providers = providers.join(","),
        interval = format_duration(schedule.interval, UnitStyle::Syntax),
        timeout = format_duration(schedule.timeout, UnitStyle::Syntax),
        calls_per_day = schedule.attempts_per_day(),
        "source configured"
    );
}
