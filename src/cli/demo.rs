//! `demo`: the service against its own simulated providers, in one process.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::DemoArguments;
use super::serve;
use super::terminal;
use super::terminal::CommandError;
use crate::config;
use crate::config::Config;
use crate::process::Clock;
use crate::process::ProcessSignals;
use crate::simulator;

/// What is served: a file like any other, but for the address of the providers.
const DEMO_CONFIG: &str = include_str!("../../config/demo.toml");

/// Where that file supposes the providers.
const SIMULATOR_ADDRESS: &str = "127.0.0.1:8081";

/// Serves the demonstration until a signal.
pub(super) fn run(arguments: &DemoArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    let redactor = terminal::init_logging(clock, None)?;
    let providers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context("failed to listen for the simulator")?;
    let mut config = parse_demo_config(&providers)?;
    config.server.listen = arguments
        .listen
        .and_then(|listen| listen.0)
        .unwrap_or(config.server.listen);
    redactor.replace_secrets(config.secrets.clone());
    let signals = ProcessSignals::listen().context("failed to listen to signals")?;
    let listener = serve::bind_listener(config.server.listen, false)?;
    let service = serve::start_service(&config, listener, clock, redactor)?;
    let runtime = serve::service_runtime(&service)?;
    let stop = CancellationToken::new();
    spawn_simulator(&runtime, providers, clock, &stop)?;
    terminal::print_stdout(format_welcome(&format!("http://{}", service.address())))?;
    runtime.block_on(signals.drain.cancelled());
    service.stop(&signals.force_stop);
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}

/// Serves the simulated providers beside the flights. Who asked before waits in the socket's queue.
fn spawn_simulator(
    runtime: &Handle,
    socket: TcpListener,
    clock: Clock,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let _runtime = runtime.enter();
    socket
        .set_nonblocking(true)
        .context("failed to prepare the simulator's socket")?;
    let listener = tokio::net::TcpListener::from_std(socket)
        .context("failed to adopt the simulator's socket")?;
    TaskTracker::new().spawn(simulator::serve(listener, clock, stop.clone()));
    Ok(())
}

fn parse_demo_config(providers: &TcpListener) -> Result<Config, CommandError> {
    let address = providers
        .local_addr()
        .context("failed to read the simulator's address")?;
    let text = DEMO_CONFIG.replace(SIMULATOR_ADDRESS, &address.to_string());
    let parsed = config::parse(
        Path::new("config/demo.toml"),
        text.as_bytes(),
        &terminal::read_env_var,
    );
    parsed.map_err(|report| CommandError::Usage(report.render_text(false)))
}

fn format_welcome(base: &str) -> String {
    format!(
        "resumen's demonstration is on {base}\n\n  \
         {base}/                            the panel, for people\n  \
         curl {base}/resumen                what dashboards read, from memory\n  \
         curl '{base}/resumen?fresh=1'      asks the providers now\n  \
         curl {base}/metrics                what Prometheus reads\n\n\
         `viento` fails for the last 30 s of every 90 s: watch it go stale, missing, and come back. Ctrl-C ends.\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_calls_only_its_simulator() {
        let providers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = providers.local_addr().unwrap().port();
        let config = parse_demo_config(&providers).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.store.path, None);
        let asked = config.sources.iter().flat_map(|source| source.providers());
        assert!(
            asked
                .map(|p| &p.request.url)
                .all(|url| url.port() == Some(port)),
            "{config:?}"
        );
    }
}
