//! `simulate`: the simulated providers by themselves.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::arguments::SimulateArguments;
use super::terminal;
use super::terminal::CommandError;
use crate::process::Clock;
use crate::process::ProcessSignals;
use crate::simulator;

/// Serves until a signal.
pub(super) fn run(arguments: &SimulateArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    let _mask = terminal::init_logging(clock, None)?;
    terminal::build_small_runtime()?.block_on(serve_providers(arguments, clock))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_providers(arguments: &SimulateArguments, clock: Clock) -> anyhow::Result<()> {
    let signals = ProcessSignals::listen().context("failed to listen to signals")?;
    let wanted = arguments.listen;
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("failed to listen on {wanted}"))?;
    let base = format!(
        "http://{}",
        listener
            .local_addr()
            .context("failed to read the address")?
    );
    terminal::print_stdout(format!(
        "simulated providers on {base}\n\n  \
         curl {base}/                            what there is, and every fault\n  \
         curl {base}/btc                         a moving value\n  \
         curl '{base}/btc?delay=250ms&fail=0.2'  a slow one that fails now and then\n\n"
    ))?;
    simulator::serve(listener, clock, signals.drain).await;
    Ok(())
}
