//! `demo`: runs the service against simulated providers in the same process, without network or configuration.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::DemoArguments;
use super::command::{self, CommandError};
use super::serve;
use super::terminal::print_stdout;
use crate::config::{self, Config, ListenAddress};
use crate::process::{Clock, ProcessSignals};
use crate::server::HttpListeners;
use crate::simulator;

/// The configuration of the demonstration, with [`SIMULATOR_ADDRESS`] in its URLs.
const DEMO_CONFIG: &str = include_str!("../../config/demo.toml");

/// Address in [`DEMO_CONFIG`] that is replaced by the simulator's.
const SIMULATOR_ADDRESS: &str = "127.0.0.1:8081";

/// Serves the demonstration until a signal.
pub(super) fn run(arguments: &DemoArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    let redactor = command::init_logging(clock, None)?;
    // Port 0: the simulator's port must not collide with a running `resumen simulate`.
    let providers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context("failed to listen for the simulator")?;
    providers
        .set_nonblocking(true)
        .context("failed to configure the simulator's socket")?;
    let mut config = parse_demo_config(&providers)?;
    if let Some(listen) = arguments.listen.clone().and_then(|listen| listen.0) {
        config.server.listen = listen;
    }
    redactor.replace_secrets(config.secrets.clone());
    let signals = ProcessSignals::listen().context("failed to install the signal handlers")?;
    let listeners = HttpListeners {
        main: serve::bind_listener(&config.server.listen, false)?,
        admin: None,
    };
    let service = serve::start_service(&config, listeners, clock, redactor)?;
    let runtime = serve::service_runtime(&service)?;
    let stop = CancellationToken::new();
    runtime.block_on(async {
        // The first attempts connected before this: their connections wait in the backlog.
        let providers = tokio::net::TcpListener::from_std(providers)
            .context("failed to register the simulator's socket")?;
        TaskTracker::new().spawn(simulator::serve(providers, clock, stop.clone()));
        print_stdout(format_welcome(service.address()))?;
        signals.drain.cancelled().await;
        anyhow::Ok(())
    })?;
    service.stop(&signals.force_stop);
    // After the service: requests to the simulator may still run until then.
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}

fn parse_demo_config(providers: &TcpListener) -> Result<Config, CommandError> {
    let address = providers
        .local_addr()
        .context("failed to read the simulator's address")?;
    let text = DEMO_CONFIG.replace(SIMULATOR_ADDRESS, &address.to_string());
    let path = Path::new("config/demo.toml");
    config::parse(path, text.as_bytes(), &command::read_env_var)
        .map_err(|error| CommandError::Usage(error.render_text(false)))
}

fn format_welcome(address: &ListenAddress) -> String {
    let base = match address {
        ListenAddress::Ip(ip) => format!("http://{ip}"),
        // As curl wants it.
        ListenAddress::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
    };
    format!(
        "resumen's demonstration is on {base}\n\n  \
         {base}/                            the panel in a browser\n  \
         curl {base}/resumen                the summary, from memory\n  \
         curl '{base}/resumen?fresh=1'      the summary, fetched for this request\n  \
         curl {base}/metrics                metrics for Prometheus\n\n\
         `viento` fails in the last 30 s of every 90 s: it becomes stale, then missing, and recovers. \
         Ctrl-C stops the demonstration.\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Provider;

    #[test]
    fn demo_calls_only_its_simulator() {
        let providers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = providers.local_addr().unwrap().port();
        let config = parse_demo_config(&providers).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.store.path, None);
        let mut providers = config.sources.iter().flat_map(|source| source.providers());
        let is_simulated = |provider: &Provider| provider.request.url.port() == Some(port);
        assert!(providers.all(is_simulated), "{config:?}");
    }
}
