//! `check --live`: each provider asked once, its answer as it came beside what the filter makes of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::beside::beside;
use super::console;
use super::table::{Canvas, Hue};
use super::text::harmless;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{Data, Failure, Name, Pace, Provider, Secrets, spell};
use crate::extract::{Extractor, Filter};
use crate::fetch::{Fetch as _, HttpFetch, Payload};

/// The most characters of a raw answer that are shown.
const SHOWN: usize = 2000;

/// What came of asking one provider.
pub(super) struct Probe {
    source: Name,
    provider: Name,
    took: Duration,
    /// The body, if one came; secrets masked.
    raw: Option<String>,
    result: Result<Data, Failure>,
}

/// Asks every provider of every source at once, each under its source's timeout. In the configuration's order.
pub(super) fn all(config: &Config) -> anyhow::Result<Vec<Probe>> {
    let runtime = console::small_runtime()?;
    let probes = runtime.block_on(ask_all(config));
    // A name lookup cannot be cancelled; nobody waits for it any more.
    runtime.shutdown_background();
    Ok(probes)
}

/// Whether every provider gave data.
pub(super) fn all_ok(probes: &[Probe]) -> bool {
    probes.iter().all(|probe| probe.result.is_ok())
}

async fn ask_all(config: &Config) -> Vec<Probe> {
    let clock = Clock::start();
    let fetch = Arc::new(HttpFetch::new(clock, config.secrets.clone()));
    let mut asked = JoinSet::new();
    let fetched = config
        .sources
        .iter()
        .filter_map(|source| Some((source, *source.pace()?)));
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
                ask(&fetch, clock, source, provider, pace, secrets).await,
            )
        });
    }
    let mut probes = asked.join_all().await;
    probes.sort_by_key(|(position, _)| *position);
    probes.into_iter().map(|(_, probe)| probe).collect()
}

async fn ask(
    fetch: &HttpFetch,
    clock: Clock,
    source: Name,
    provider: Provider,
    pace: Pace,
    secrets: Secrets,
) -> Probe {
    let (begun, deadline) = (clock.instant(), clock.deadline(pace.timeout));
    let fetched = fetch.fetch(&provider, deadline).await;
    let raw = fetched
        .as_ref()
        .ok()
        .map(|Payload(bytes)| secrets.mask(&String::from_utf8_lossy(bytes)).into_owned());
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
    Probe {
        source,
        provider: provider.name,
        took: clock.instant().saturating_duration_since(begun),
        raw,
        result,
    }
}

fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", harmless(&line[..end])),
        None => harmless(&line),
    }
}

/// For people: on a terminal both answers laid out beside each other, elsewhere each in a line that can be searched.
pub(super) fn text(probes: &[Probe], canvas: Canvas) -> String {
    let mut text = String::new();
    for probe in probes {
        let (state, hue) = if probe.result.is_ok() {
            ("ok", Hue::Good)
        } else {
            ("failed", Hue::Bad)
        };
        let took = spell(Duration::from_millis(probe.took.as_millis() as u64));
        let name = canvas.paint(Hue::Bold, &format!("{}, {}", probe.source, probe.provider));
        let _ = writeln!(text, "\n{name}: {} in {took}", canvas.paint(hue, state));
        let raw = probe.raw.as_deref().unwrap_or("nothing came");
        let (head, made) = match &probe.result {
            Ok(data) => ("EXTRACTED", data.as_json().to_owned()),
            Err(failure) => ("FAILED", format!("{}: {}", failure.code, failure.message)),
        };
        match canvas.width {
            Some(width) => {
                text += &beside(["RAW", &laid_out(raw)], [head, &laid_out(&made)], width)
            }
            None => {
                let _ = writeln!(
                    text,
                    "  {:10} {}\n  {:10} {}",
                    "raw",
                    shown(raw),
                    head.to_lowercase(),
                    harmless(&made)
                );
            }
        }
    }
    text
}

/// JSON with a line for each member; other text as it is.
fn laid_out(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text).ok();
    value
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| text.to_owned())
}

/// For programs.
pub(super) fn json(probes: &[Probe]) -> Value {
    let one = |probe: &Probe| {
        let (data, failure) = (probe.result.as_ref().ok(), probe.result.as_ref().err());
        json!({
            "source": probe.source.as_str(),
            "provider": probe.provider.as_str(),
            "ok": probe.result.is_ok(),
            "ms": probe.took.as_secs_f64() * 1e3,
            "raw": probe.raw.as_deref().map(shown),
            "data": data.and_then(|data| serde_json::from_str::<Value>(data.as_json()).ok()),
            "code": failure.map(|failure| failure.code.as_str()),
            "error": failure.map(|failure| &*failure.message),
        })
    };
    probes.iter().map(one).collect()
}
