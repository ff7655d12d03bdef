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

use super::arguments::{OnceArguments, OnceFormat};
use super::load_config::ConfigLocation;
use super::once_table::{HIDDEN_FAILURES_KEY, Terminal};
use super::terminal;
use super::terminal::CommandError;
use crate::aggregate::Cache;
use crate::app::{AppCore, CoreDeps};
use crate::config::Config;
use crate::domain::{Name, Snapshot, SourceSet};
use crate::extract::Extractor;
use crate::fetch::{Fetch, HttpFetch};
use crate::process::Clock;
use crate::render::{RenderMode, Rendering, format_rfc3339, render_summary};
use crate::store::StateFile;

/// Asks every source once.
pub(super) fn run(arguments: &OnceArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    // The answer tells every failure by itself.
    let mask = terminal::init_logging(clock, Some("error"))?;
    let config = ConfigLocation::find(&arguments.configuration, None).require_config()?;
    mask.replace_secrets(config.secrets.clone());
    let timeout = arguments.timeout.unwrap_or(config.server.default_timeout);
    let runtime = terminal::build_small_runtime()?;
    let fetch = HttpFetch::new(clock, config.secrets.clone());
    fetch.set_max_per_host(config.max_per_host);
    let answer = runtime.block_on(run_live_request(fetch, &config, clock, timeout));
    // A name lookup cannot be cancelled; nobody waits for it any more.
    runtime.shutdown_background();
    let (answer, snapshot) = answer?;
    terminal::print_stdout(match arguments.format.unwrap_or_else(default_format) {
        OnceFormat::Json => [&answer.body[..], b"\n"].concat(),
        OnceFormat::Table => {
            format_table(&answer, &snapshot, &load_previous_snapshot(&config, clock))?.into_bytes()
        }
    })?;
    Ok(if answer.is_all_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run_live_request(
    fetch: impl Fetch,
    config: &Config,
    clock: Clock,
    timeout: Duration,
) -> anyhow::Result<(Rendering, Arc<Snapshot>)> {
    let stop = CancellationToken::new();
    let gear = CoreDeps {
        fetch: Arc::new(fetch),
        extractor: Extractor::new(config.secrets.clone()),
        clock,
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: stop.clone(),
        outcome_observer: Arc::new(|_| {}),
        state_file: None,
        shared_store: None,
    };
    let _stop = stop.drop_guard();
    let engine = AppCore::build_on_demand(gear, &config.sources, timeout)?;
    let names: Vec<Name> = config
        .sources
        .iter()
        .map(|source| source.name.clone())
        .collect();
    let gathering = engine
        .live
        .fetch_sources(&names, Duration::ZERO, clock.deadline(timeout));
    let gathered = tokio::select! {
        biased;
        gathered = gathering => gathered,
        never = show_progress(&engine.cache) => match never {},
    };
    let mode = RenderMode::Live {
        timeout,
        source_results: &gathered.notes,
        is_collapsed: gathered.was_collapsed,
    };
    let answer = render_summary(&gathered.snapshot, &gathered.positions, &mode, clock.now());
    Ok((answer, gathered.snapshot))
}

/// Tells on a terminal who is still waited for, until it is dropped; then the line is gone.
async fn show_progress(cache: &Cache) -> std::convert::Infallible {
    struct EraseLineOnDrop;
    impl Drop for EraseLineOnDrop {
        fn drop(&mut self) {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let _erase = EraseLineOnDrop;
    let mut changes = cache.subscribe();
    loop {
        let line = progress_line(&cache.snapshot());
        let room = terminal::terminal_width(&io::stderr())
            .unwrap_or(80)
            .saturating_sub(1);
        let line: String = line.chars().take(room).collect();
        let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn progress_line(snapshot: &Snapshot) -> String {
    let entries = snapshot.source_states();
    let open: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.history.last_attempt.is_none())
        .map(|entry| entry.source.name.as_str())
        .collect();
    let ended = entries.len() - open.len();
    format!(
        "{ended} of {} answered; waiting for {}",
        entries.len(),
        open.join(", ")
    )
}

fn default_format() -> OnceFormat {
    if io::stdout().is_terminal() {
        OnceFormat::Table
    } else {
        OnceFormat::Json
    }
}

/// What a service of this configuration told its state file last, if it has one that can be read.
fn load_previous_snapshot(config: &Config, clock: Clock) -> Snapshot {
    let state = config
        .store
        .path
        .as_deref()
        .and_then(|path| StateFile::new(path).load().content);
    let kept = state
        .map(|state| state.into_records_at(&clock.timestamps()))
        .unwrap_or_default();
    Snapshot::new(Arc::new(SourceSet::new(config.sources.clone()))).restore(&kept)
}

fn format_table(answer: &Rendering, now: &Snapshot, before: &Snapshot) -> anyhow::Result<String> {
    let mut body: Value =
        serde_json::from_slice(&answer.body).context("failed to read the answer")?;
    for (at, entry) in now.source_states().iter().enumerate() {
        let Some(result) = body["resultados"].get_mut(entry.source.name.as_str()) else {
            continue;
        };
        let since = before
            .source_view(at, answer.generated_at)
            .failure
            .and_then(|trouble| trouble.failing_since);
        if let Some(told) = result.get_mut("failing_since") {
            *told = json!(since.map(format_rfc3339));
        } else {
            let hidden = entry.failing_providers().map(|(streak, failure)| {
                let since = before.source_states()[at].history.failure_streak(&streak.provider).map(|streak| format_rfc3339(streak.since));
                let (provider, code) = (streak.provider.as_str(), failure.code.as_str());
                json!({"provider": provider, "code": code, "failing_since": since, "error": &*failure.message})
            });
            result[HIDDEN_FAILURES_KEY] = hidden.collect();
        }
    }
    Ok(Terminal::from_stream(&io::stdout()).render_answer(&body))
}
