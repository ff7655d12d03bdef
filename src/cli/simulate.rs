//! `simulate`: runs only the simulated providers, until a signal.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::arguments::SimulateArguments;
use super::command::{self, CommandError};
use super::terminal::print_stdout;
use crate::process::{Clock, ProcessSignals};
use crate::simulator;

/// Serves the simulated providers on the address of the arguments.
pub(super) fn run(arguments: &SimulateArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    command::init_logging(clock, None)?;
    command::build_small_runtime()?.block_on(serve_providers(arguments, clock))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_providers(arguments: &SimulateArguments, clock: Clock) -> anyhow::Result<()> {
    let signals = ProcessSignals::listen().context("failed to install the signal handlers")?;
    let address = arguments.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))?;
    let address = listener
        .local_addr()
        .context("failed to read the listening address")?;
    let base = format!("http://{address}");
    print_stdout(format!(
        "simulated providers on {base}\n\n  \
         curl {base}/                            lists the endpoints and the fault parameters\n  \
         curl {base}/btc                         a value that changes over time\n  \
         curl '{base}/btc?delay=250ms&fail=0.2'  the same, slow and with one failure in five\n\n"
    ))?;
    simulator::serve(listener, clock, signals.drain).await;
    Ok(())
}
