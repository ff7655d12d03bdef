//! `demo`: the service against its own simulated providers, in one process.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::Demo;
use super::console::{self, Failed};
use super::serve;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::shutdown::Signals;
use crate::simulator;

/// What is served: a file like any other, but for the address of the providers.
const CONFIGURATION: &str = include_str!("../../config/demo.toml");

/// Where that file supposes the providers.
const SIMULATOR: &str = "127.0.0.1:8081";

/// Serves the demonstration until a signal.
pub(super) fn run(arguments: &Demo) -> Result<ExitCode, Failed> {
    let clock = Clock::start();
    let mask = console::log(clock, None)?;
    let providers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context("failed to listen for the simulator")?;
    let mut config = configuration(&providers)?;
    config.server.listen = arguments
        .listen
        .and_then(|listen| listen.0)
        .unwrap_or(config.server.listen);
    mask.replace(config.secrets.clone());
    let signals = Signals::listen().context("failed to listen to signals")?;
    let listener = serve::bind(config.server.listen, false)?;
    let service = serve::start(&config, listener, clock)?;
    let runtime = serve::runtime_of(&service)?;
    let stop = CancellationToken::new();
    simulate(&runtime, providers, clock, &stop)?;
    console::print(invitation(&format!("http://{}", service.address())))?;
    runtime.block_on(signals.drain.cancelled());
    service.stop(&signals.end);
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}

/// Serves the simulated providers beside the flights. Who asked before waits in the socket's queue.
fn simulate(
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

fn configuration(providers: &TcpListener) -> Result<Config, Failed> {
    let address = providers
        .local_addr()
        .context("failed to read the simulator's address")?;
    let text = CONFIGURATION.replace(SIMULATOR, &address.to_string());
    let parsed = config::parse(
        Path::new("config/demo.toml"),
        text.as_bytes(),
        &console::variable,
    );
    parsed.map_err(|report| Failed::Usage(report.draw(false)))
}

fn invitation(base: &str) -> String {
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
    fn the_demonstration_is_valid_and_asks_its_own_simulator_only() {
        let providers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = providers.local_addr().unwrap().port();
        let config = configuration(&providers).unwrap();
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
