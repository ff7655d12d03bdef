//! `once`: one fan-out to standard output, without sockets to listen on. Of the state file it only reads since when what
//! fails has been failing: by itself it would know of no failure but its own.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::{Once, OnceFormat};
use super::configuration::Origin;
use super::console::{self, Failed};
use super::table::{Canvas, HIDDEN};
use crate::app::{Engine, Gear};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{Name, Roster, Snapshot};
use crate::extract::Extractor;
use crate::fetch::{Fetch, HttpFetch};
use crate::render::{Mode, Rendering, render, rfc3339};
use crate::store::StateFile;

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
    let (answer, snapshot) = answer?;
    console::print(match arguments.format.unwrap_or_else(usual_format) {
        OnceFormat::Json => [&answer.body[..], b"\n"].concat(),
        OnceFormat::Table => table(&answer, &snapshot, &before(&config, clock))?.into_bytes(),
    })?;
    Ok(if answer.all_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn round(
    fetch: impl Fetch,
    config: &Config,
    clock: Clock,
    timeout: Duration,
) -> anyhow::Result<(Rendering, Arc<Snapshot>)> {
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
    let names: Vec<Name> = config
        .sources
        .iter()
        .map(|source| source.name.clone())
        .collect();
    let gathering = engine
        .live
        .gather(&names, Duration::ZERO, clock.deadline(timeout));
    let gathered = tokio::select! {
        biased;
        gathered = gathering => gathered,
        never = progress(&engine.cache) => match never {},
    };
    let mode = Mode::Live {
        timeout,
        notes: &gathered.notes,
        collapsed: gathered.collapsed,
    };
    let answer = render(&gathered.snapshot, &gathered.selection, &mode, clock.now());
    Ok((answer, gathered.snapshot))
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
        let room = console::width(&io::stderr())
            .unwrap_or(80)
            .saturating_sub(1);
        let line: String = line.chars().take(room).collect();
        let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn waiting(snapshot: &Snapshot) -> String {
    let entries = snapshot.entries();
    let open: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.trail.last.is_none())
        .map(|entry| entry.source.name.as_str())
        .collect();
    let ended = entries.len() - open.len();
    format!(
        "{ended} of {} answered; waiting for {}",
        entries.len(),
        open.join(", ")
    )
}

fn usual_format() -> OnceFormat {
    if io::stdout().is_terminal() {
        OnceFormat::Table
    } else {
        OnceFormat::Json
    }
}

/// What a service of this configuration told its state file last, if it has one that can be read.
fn before(config: &Config, clock: Clock) -> Snapshot {
    let state = config
        .store
        .path
        .as_deref()
        .and_then(|path| StateFile::new(path).load().state);
    let kept = state
        .map(|state| state.seen_from(&clock.moment()))
        .unwrap_or_default();
    Snapshot::new(Arc::new(Roster::new(config.sources.clone()))).restore(&kept)
}

fn table(answer: &Rendering, now: &Snapshot, before: &Snapshot) -> anyhow::Result<String> {
    let mut body: Value =
        serde_json::from_slice(&answer.body).context("failed to read the answer")?;
    for (at, entry) in now.entries().iter().enumerate() {
        let Some(result) = body["resultados"].get_mut(entry.source.name.as_str()) else {
            continue;
        };
        let since = before
            .state(at, answer.generated_at)
            .error
            .and_then(|trouble| trouble.since);
        if let Some(told) = result.get_mut("failing_since") {
            *told = json!(since.map(rfc3339));
        } else {
            let hidden = entry.broken().map(|(streak, failure)| {
                let since = before.entries()[at].trail.streak(&streak.provider).map(|streak| rfc3339(streak.since));
                let (provider, code) = (streak.provider.as_str(), failure.code.as_str());
                json!({"provider": provider, "code": code, "failing_since": since, "error": &*failure.message})
            });
            result[HIDDEN] = hidden.collect();
        }
    }
    Ok(Canvas::of(&io::stdout()).draw(&body))
}
