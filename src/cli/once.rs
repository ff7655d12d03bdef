//! `once`: makes one live request without a server and prints the response.
//!
//! For the table, the previous snapshot is read from the state file: it has the time since when a source has been
//! failing, which a single attempt cannot know.

use std::collections::BTreeSet;
use std::convert::Infallible;
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
use super::command::{self, CommandError, exit_code};
use super::load_config::ConfigLocation;
use super::once_appearance::apply_appearances;
use super::once_row::HIDDEN_FAILURES_KEY;
use super::once_table::render_table;
use super::terminal::{Terminal, print_stdout};
use crate::aggregate::Cache;
use crate::app::{AppCore, CoreDeps};
use crate::auth::AuthorizedFetch;
use crate::config::Config;
use crate::domain::format_rfc3339;
use crate::domain::{Name, Redactor, Snapshot, SourceSet};
use crate::extract::{Extractor, own_program};
use crate::fetch::HttpFetch;
use crate::process::{Clock, SendBudget};
use crate::render::{BodyForm, RenderMode, Rendering, render_summary};
use crate::store::StateFile;

/// Fetches every source once. The exit code is 0 if every source is ok.
pub(super) fn run(arguments: &OnceArguments) -> Result<ExitCode, CommandError> {
    let clock = Clock::start();
    // `error`: the output already has every failure that would be logged as a warning.
    let redactor = command::init_logging(clock, Some("error"))?;
    let config = ConfigLocation::find(&arguments.configuration, None).require_config()?;
    redactor.replace_secrets(config.secrets.clone());
    let timeout = arguments.timeout.unwrap_or(config.server.default_timeout);
    let runtime = command::build_small_runtime()?;
    let result = runtime.block_on(run_live_request(&config, redactor.clone(), clock, timeout));
    // A blocking name lookup cannot be cancelled, and dropping the runtime would wait for it.
    runtime.shutdown_background();
    let (rendering, snapshot) = result?;
    let shown = redact_data(&rendering, &snapshot, &redactor, &config.plain_values);
    let default_format = || {
        if io::stdout().is_terminal() {
            OnceFormat::Table
        } else {
            OnceFormat::Json
        }
    };
    print_stdout(match arguments.format.unwrap_or_else(default_format) {
        OnceFormat::Json => (shown + "\n").into_bytes(),
        OnceFormat::Table => {
            // Only for the table: the JSON is the answer of the live request.
            let previous = load_previous_snapshot(&config, clock);
            let mut body: Value =
                serde_json::from_str(&shown).context("failed to parse the summary")?;
            add_failure_history(&mut body, &rendering, &snapshot, &previous);
            apply_appearances(&mut body, &snapshot);
            render_table(Terminal::from_stream(&io::stdout()), &body).into_bytes()
        }
    })?;
    Ok(exit_code(rendering.is_all_ok))
}

/// The body of the answer, with the secrets in the data redacted: the output of a command is often kept in a log.
fn redact_data(
    rendering: &Rendering,
    snapshot: &Snapshot,
    redactor: &Redactor,
    plain_values: &BTreeSet<String>,
) -> String {
    let body = String::from_utf8_lossy(&rendering.body);
    let mut shown = String::with_capacity(body.len());
    let mut rest = &*body;
    // The data stands in the body as it is, in the order of the sources.
    for state in snapshot.source_states() {
        let Some(reading) = &state.reading else {
            continue;
        };
        let member = format!("\"data\":{}", reading.data.as_json());
        if let Some((before, after)) = rest.split_once(&member) {
            shown.push_str(before);
            shown.push_str("\"data\":");
            shown.push_str(&redactor.redact_json(reading.data.as_json(), plain_values));
            rest = after;
        }
    }
    shown + rest
}

async fn run_live_request(
    config: &Config,
    redactor: Redactor,
    clock: Clock,
    timeout: Duration,
) -> anyhow::Result<(Rendering, Arc<Snapshot>)> {
    let stop = CancellationToken::new();
    // Calls that the deadline has overtaken end with the command.
    let _stop_on_return = stop.clone().drop_guard();
    let fetch = HttpFetch::new(clock, redactor.clone());
    fetch.set_max_per_host(config.max_per_host);
    let extractor = Extractor::new(own_program(), redactor.clone());
    let logins = TaskTracker::new();
    let fetch = AuthorizedFetch::new(
        Arc::new(fetch),
        extractor.clone(),
        redactor,
        clock,
        logins.clone(),
    );
    fetch.replace_auths(&config.auths);
    let deps = CoreDeps {
        fetch: Arc::new(fetch),
        extractor,
        clock,
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: stop.clone(),
        fetch_metrics: Arc::default(),
        own_series: Arc::default(),
        state_file: None,
        shared_store: None,
        send_budget: SendBudget::new(None),
    };
    let core = AppCore::build_on_demand(deps, &config.sources, timeout)?;
    let sources = config.sources.iter();
    let names: Vec<Name> = sources.map(|source| source.name.clone()).collect();
    let deadline = clock.deadline(timeout);
    let result = tokio::select! {
        // The fetches are polled first: a complete result is not delayed by another progress line.
        biased;
        result = core.live.fetch_sources(&names, Duration::ZERO, deadline) => result,
        never = show_progress(&core.cache) => match never {},
    };
    command::finish_logins(&logins, &config.auths).await;
    let mode = RenderMode::Live {
        timeout,
        source_results: &result.notes,
        is_collapsed: result.was_collapsed,
    };
    let rendering = render_summary(
        &result.snapshot,
        &result.positions,
        &BodyForm::Summary,
        &mode,
        clock.now(),
    );
    Ok((rendering, result.snapshot))
}

/// Shows the sources without an outcome on standard error, if that is a terminal. The line is erased on drop.
async fn show_progress(cache: &Cache) -> Infallible {
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
        let width = Terminal::from_stream(&io::stderr()).width.unwrap_or(80);
        // One column less than the terminal: a full line would wrap, and the next update erases only one line.
        let line: String = line.chars().take(usize::from(width) - 1).collect();
        let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn progress_line(snapshot: &Snapshot) -> String {
    let states = snapshot.source_states();
    let pending = states
        .iter()
        .filter(|state| state.history.last_attempt.is_none());
    let pending: Vec<&str> = pending.map(|state| state.source.name.as_str()).collect();
    let (done, total) = (states.len() - pending.len(), states.len());
    format!("{done} of {total} done; waiting for {}", pending.join(", "))
}

/// Returns the snapshot in the state file of the configuration; an empty one without a readable file.
fn load_previous_snapshot(config: &Config, clock: Clock) -> Snapshot {
    // The file is only read: a running service may own it.
    let path = config.store.path.as_deref();
    let content = path.and_then(|path| StateFile::new(path).load().content);
    let records = content.map(|content| content.into_records_at(&clock.timestamps()));
    let sources = SourceSet::new(config.sources.clone());
    Snapshot::new(Arc::new(sources)).restore(&records.unwrap_or_default())
}

/// Sets `failing_since` of each failure to that of the previous snapshot, and adds the failures of providers that an ok
/// result does not show.
fn add_failure_history(
    body: &mut Value,
    rendering: &Rendering,
    snapshot: &Snapshot,
    previous: &Snapshot,
) {
    for (position, state) in snapshot.source_states().iter().enumerate() {
        let Some(result) = body["resultados"].get_mut(state.source.name.as_str()) else {
            continue;
        };
        if let Some(failing_since) = result.get_mut("failing_since") {
            let view = previous.source_view(position, rendering.generated_at);
            let since = view.failure.and_then(|failure| failure.failing_since);
            *failing_since = json!(since.map(format_rfc3339));
            continue;
        }
        let history = &previous.source_states()[position].history;
        let hidden = state.failing_providers().map(|(streak, failure)| {
            let since = history
                .failure_streak(&streak.provider)
                .map(|streak| streak.since);
            json!({
                "provider": streak.provider.as_str(),
                "code": failure.code.as_str(),
                "failing_since": since.map(format_rfc3339),
                "error": &*failure.message,
            })
        });
        result[HIDDEN_FAILURES_KEY] = hidden.collect();
    }
}
