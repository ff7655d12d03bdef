//! `check --live`: each provider asked once, its answer as it came beside what the filter makes of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::columns::format_two_columns;
use super::once_table::{Terminal, TextStyle};
use super::terminal;
use super::wrap::escape_control;
use crate::config::Config;
use crate::domain::{Failure, JsonData, Name, Provider, Schedule, SecretSet};
use crate::extract::{Extractor, Filter};
use crate::fetch::{Fetch as _, HttpFetch, Payload};
use crate::process::Clock;
use crate::text::format_duration;

/// The most characters of a raw answer that are shown.
const MAX_RAW_CHARS: usize = 2000;

/// What came of asking one provider.
pub(crate) struct ProviderProbe {
    source: Name,
    provider: Name,
    elapsed: Duration,
    /// The body, if one came; secrets masked.
    raw_body: Option<String>,
    result: Result<JsonData, Failure>,
}

/// Asks every provider of every source at once, each under its source's timeout. In the configuration's order.
pub(crate) fn probe_all(config: &Config) -> anyhow::Result<Vec<ProviderProbe>> {
    let runtime = terminal::build_small_runtime()?;
    let probes = runtime.block_on(run_probes(config));
    // A name lookup cannot be cancelled; nobody waits for it any more.
    runtime.shutdown_background();
    Ok(probes)
}

/// Whether every provider gave data.
pub(crate) fn all_succeeded(probes: &[ProviderProbe]) -> bool {
    probes.iter().all(|probe| probe.result.is_ok())
}

async fn run_probes(config: &Config) -> Vec<ProviderProbe> {
    let clock = Clock::start();
    let fetch = Arc::new(HttpFetch::new(clock, config.secrets.clone()));
    fetch.set_max_per_host(config.max_per_host);
    let mut asked = JoinSet::new();
    let fetched = config
        .sources
        .iter()
        .filter_map(|source| Some((source, *source.schedule()?)));
    let each = fetched.flat_map(|(source, pace)| {
        source
            .providers()
            .iter()
            .map(move |p| (&source.name, p, pace))
    });
    for (position, (source, provider, pace)) in each.enumerate() {
        let (fetch, source, provider) = (Arc::clone(&fetch), source.clone(), provider.clone());
        let secrets = config.secrets.clone();
        asked.spawn(async move {
            (
                position,
                probe_provider(&fetch, clock, source, provider, pace, secrets).await,
            )
        });
    }
    let mut probes = asked.join_all().await;
    probes.sort_by_key(|(position, _)| *position);
    probes.into_iter().map(|(_, probe)| probe).collect()
}

async fn probe_provider(
    fetch: &HttpFetch,
    clock: Clock,
    source: Name,
    provider: Provider,
    pace: Schedule,
    secrets: SecretSet,
) -> ProviderProbe {
    let (begun, deadline) = (clock.instant(), clock.deadline(pace.timeout));
    let fetched = fetch.fetch(&provider, deadline.into()).await;
    let raw = fetched
        .as_ref()
        .ok()
        .map(|Payload(bytes)| secrets.redact(&String::from_utf8_lossy(bytes)).into_owned());
    let result = match (fetched, Filter::compile(&provider.extract)) {
        (Ok(Payload(bytes)), Ok(filter)) => {
            // One extractor for each: the turns of a source do not matter here.
            Extractor::new(secrets)
                .extract(&source, &filter, bytes, deadline)
                .await
        }
        (Err(error), _) => Err(error.failure),
        (_, Err(error)) => Err(Failure::new(
            crate::domain::Code::ExtractFailed,
            error.message,
        )),
    };
    ProviderProbe {
        source,
        provider: provider.name,
        elapsed: clock.instant().saturating_duration_since(begun),
        raw_body: raw,
        result,
    }
}

fn format_raw_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_RAW_CHARS) {
        Some((end, _)) => format!("{}…", escape_control(&line[..end])),
        None => escape_control(&line),
    }
}

/// For people: on a terminal both answers laid out beside each other, elsewhere each in a line that can be searched.
pub(crate) fn format_probes(probes: &[ProviderProbe], canvas: Terminal) -> String {
    let mut text = String::new();
    for probe in probes {
        let (state, hue) = if probe.result.is_ok() {
            ("ok", TextStyle::Success)
        } else {
            ("failed", TextStyle::Error)
        };
        let took = format_duration(Duration::from_millis(probe.elapsed.as_millis() as u64));
        let name = canvas.apply_style(
            TextStyle::Bold,
            &format!("{}, {}", probe.source, probe.provider),
        );
        let _ = writeln!(
            text,
            "\n{name}: {} in {took}",
            canvas.apply_style(hue, state)
        );
        let raw = probe.raw_body.as_deref().unwrap_or("nothing came");
        let (head, made) = match &probe.result {
            Ok(data) => ("EXTRACTED", data.as_json().to_owned()),
            Err(failure) => ("FAILED", format!("{}: {}", failure.code, failure.message)),
        };
        match canvas.width {
            Some(width) => {
                text += &format_two_columns(
                    ["RAW", &pretty_json(raw)],
                    [head, &pretty_json(&made)],
                    width,
                )
            }
            None => {
                let _ = writeln!(
                    text,
                    "  {:10} {}\n  {:10} {}",
                    "raw",
                    format_raw_line(raw),
                    head.to_lowercase(),
                    escape_control(&made)
                );
            }
        }
    }
    text
}

/// JSON with a line for each member; other text as it is.
fn pretty_json(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text).ok();
    value
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| text.to_owned())
}

/// For programs.
pub(crate) fn probes_json(probes: &[ProviderProbe]) -> Value {
    let one = |probe: &ProviderProbe| {
        let (data, failure) = (probe.result.as_ref().ok(), probe.result.as_ref().err());
        json!({
            "source": probe.source.as_str(),
            "provider": probe.provider.as_str(),
            "ok": probe.result.is_ok(),
            "ms": probe.elapsed.as_secs_f64() * 1e3,
            "raw": probe.raw_body.as_deref().map(format_raw_line),
            "data": data.and_then(|data| serde_json::from_str::<Value>(data.as_json()).ok()),
            "code": failure.map(|failure| failure.code.as_str()),
            "error": failure.map(|failure| &*failure.message),
        })
    };
    probes.iter().map(one).collect()
}
