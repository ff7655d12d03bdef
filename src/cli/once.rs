//! `once`: one fan-out to standard output, without sockets to listen on and without a state file.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::{Once, OnceFormat};
use super::configuration::Origin;
use super::console::{self, Failed};
use super::table::Canvas;
use crate::app::{Engine, Gear};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{Name, Snapshot};
use crate::extract::Extractor;
use crate::fetch::{Fetch, HttpFetch};
use crate::render::{Mode, Rendering, render};

/// Asks every source once.
pub(super) fn run(arguments: &Once) -> Result<ExitCode, Failed> {
    let clock = Clock::start();
    // The answer tells every failure by itself.
    let mask = console::log(clock, Some("error"))?;
    let config = Origin::find(&arguments.configuration, None).load()?;
    mask.replace(config.secrets.clone());
    let timeout = arguments.timeout.unwrap_or(config.server.default_timeout);
    let runtime = console::small_runtime()?;
    let fetch = HttpFetch::new(clock, config.secrets.clone());
    let answer = runtime.block_on(round(fetch, &config, clock, timeout));
    // A name lookup cannot be cancelled; nobody waits for it any more.
    runtime.shutdown_background();
    let answer = answer?;
    console::print(text(&answer, arguments.format)?)?;
    Ok(if answer.all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn round(fetch: impl Fetch, config: &Config, clock: Clock, timeout: Duration) -> anyhow::Result<Rendering> {
    let stop = CancellationToken::new();
    let gear = Gear {
        fetch: Arc::new(fetch),
        extractor: Extractor::new(config.secrets.clone()),
        clock,
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: stop.clone(),
        witness: Arc::new(|_| {}),
        state: None,
        shared: None,
    };
    let _stop = stop.drop_guard();
    let engine = Engine::idle(gear, &config.sources, timeout)?;
    let names: Vec<Name> = config.sources.iter().map(|source| source.name.clone()).collect();
    let gathering = engine.live.gather(&names, Duration::ZERO, clock.deadline(timeout));
    let gathered = tokio::select! {
        biased;
        gathered = gathering => gathered,
        never = progress(&engine.cache) => match never {},
    };
    let mode = Mode::Live { timeout, notes: &gathered.notes, collapsed: gathered.collapsed };
    Ok(render(&gathered.snapshot, &gathered.selection, &mode, clock.now()))
}

/// Tells on a terminal who is still waited for, until it is dropped; then the line is gone.
async fn progress(cache: &Cache) -> std::convert::Infallible {
    struct Erase;
    impl Drop for Erase {
        fn drop(&mut self) {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let _erase = Erase;
    let mut changes = cache.subscribe();
    loop {
        let line = waiting(&cache.snapshot());
        let room = console::width(&io::stderr()).unwrap_or(80).saturating_sub(1);
        let line: String = line.chars().take(room).collect();
        let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn waiting(snapshot: &Snapshot) -> String {
    let entries = snapshot.entries();
    let open: Vec<&str> =
        entries.iter().filter(|entry| entry.trail.last.is_none()).map(|entry| entry.source.name.as_str()).collect();
    let ended = entries.len() - open.len();
    format!("{ended} of {} answered; waiting for {}", entries.len(), open.join(", "))
}

fn text(answer: &Rendering, format: Option<OnceFormat>) -> anyhow::Result<Vec<u8>> {
    let stdout = io::stdout();
    let default = if stdout.is_terminal() { OnceFormat::Table } else { OnceFormat::Json };
    match format.unwrap_or(default) {
        OnceFormat::Json => Ok([&answer.body[..], b"\n"].concat()),
        OnceFormat::Table => {
            let body = serde_json::from_slice(&answer.body).context("failed to read the answer")?;
            Ok(Canvas::of(&stdout).draw(&body).into_bytes())
        }
    }
}
