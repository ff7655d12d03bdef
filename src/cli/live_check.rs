//! `check --live`: fetches every provider once and shows its raw body and the extracted data.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{ColumnConstraint, ContentLineStyle, Table, TableStyle, Width};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::command;
use super::layout::wrap_lines;
use super::metric_probe::MetricProbe;
use super::terminal::{Terminal, TextStyle, escape_control};
use crate::auth::AuthorizedFetch;
use crate::config::Config;
use crate::domain::{BodyFormat, Code, Failure, JsonData, Name, Provider, Redactor, Source};
use crate::extract::{Extractor, Filter, RawBody, own_program};
use crate::fetch::{Fetch as _, HttpFetch};
use crate::process::Clock;
use crate::text::{UnitStyle, format_duration};

/// Maximum number of characters of a raw body on one line.
const MAX_RAW_CHARS: usize = 2000;

/// Time for the second conversion of a body, which only shows it.
const CONVERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of lines of each text on a terminal.
const MAX_TEXT_LINES: usize = 24;

/// Minimum width of one of two columns; on a narrower terminal the texts are stacked.
const MIN_COLUMN_WIDTH: u16 = 30;

/// Indentation below the line of a provider.
const INDENT: u16 = 2;

const COLUMN_STYLE: ContentLineStyle = ContentLineStyle::none().junction('│');

/// The outcome of one call to one provider.
pub(super) struct ProviderProbe {
    source: Name,
    provider: Name,
    elapsed: Duration,
    /// The body, or the beginning of one that refuses, with secrets redacted; `None` if the call failed
    /// before the end of the body, or if there is none.
    raw_body: Option<String>,
    /// What the filter sees of a body that is not JSON, with secrets redacted; `None` if it could not be converted.
    input: Option<String>,
    /// The data, with secrets redacted.
    result: Result<JsonData, Failure>,
    /// The series of the source's own metrics; `None` if it has none, or if there is no data.
    metrics: Option<MetricProbe>,
}

/// What every call needs.
struct ProbeContext {
    fetch: AuthorizedFetch,
    clock: Clock,
    redactor: Redactor,
    plain_values: BTreeSet<String>,
}

/// Calls every provider of every source concurrently, each under its source's timeout. Returns the outcomes in the order
/// of the configuration.
pub(super) fn probe_all(config: &Config) -> anyhow::Result<Vec<ProviderProbe>> {
    let clock = Clock::start();
    let redactor = Redactor::new(config.secrets.clone());
    let fetch = HttpFetch::new(clock, redactor.clone());
    // The limit of the service holds here, too: a provider may ban a burst of calls.
    fetch.set_max_per_host(config.max_per_host);
    let extractor = Extractor::new(own_program(), redactor.clone());
    let logins = TaskTracker::new();
    let fetch = AuthorizedFetch::new(
        Arc::new(fetch),
        extractor,
        redactor.clone(),
        clock,
        logins.clone(),
    );
    fetch.replace_auths(&config.auths);
    let context = Arc::new(ProbeContext {
        fetch,
        clock,
        redactor,
        plain_values: config.plain_values.clone(),
    });
    let runtime = command::build_small_runtime()?;
    let probes = runtime.block_on(async {
        let tracker = TaskTracker::new();
        let mut tasks = Vec::new();
        for source in &config.sources {
            let Some(schedule) = source.schedule() else {
                continue;
            };
            for provider in source.providers() {
                let (source, provider) = (Arc::clone(source), provider.clone());
                let (context, timeout) = (Arc::clone(&context), schedule.timeout);
                let probe = async move { context.probe(source, provider, timeout).await };
                tasks.push(tracker.spawn(probe));
            }
        }
        // In the order of the configuration, although the calls run concurrently.
        let mut probes = Vec::new();
        for task in tasks {
            probes.push(task.await.context("the call to a provider panicked")?);
        }
        command::finish_logins(&logins, &config.auths).await;
        anyhow::Ok(probes)
    });
    // A blocking name lookup cannot be cancelled, and dropping the runtime would wait for it.
    runtime.shutdown_background();
    probes
}

impl ProbeContext {
    fn redact_data(&self, data: &JsonData) -> String {
        self.redactor
            .redact_json(data.as_json(), &self.plain_values)
    }

    async fn probe(
        &self,
        source: Arc<Source>,
        provider: Provider,
        timeout: Duration,
    ) -> ProviderProbe {
        let (started, deadline) = (self.clock.instant(), self.clock.deadline(timeout));
        let fetched = self.fetch.fetch(&provider, deadline.into()).await;
        let raw_body = match &fetched {
            Ok(payload) => {
                let text = String::from_utf8_lossy(&payload.body);
                // Redacted at once and as a whole: the body is cut and escaped later.
                Some(self.redactor.redact(&text))
            }
            Err(error) => error
                .refused
                .as_ref()
                .map(|refused| refused.received.to_string())
                .filter(|received| !received.is_empty()),
        };
        let (mut input, mut metrics) = (None, None);
        let result = match (fetched, Filter::compile(&provider.extract)) {
            (Ok(payload), Ok(filter)) => {
                // A separate extractor: one extractor evaluates the filters of a source one after the other.
                let extractor = Extractor::new(own_program(), self.redactor.clone());
                let body = payload.raw_body(&provider.request.format);
                let result = extractor.extract_body(&source.name, &filter, &body, deadline);
                let result = result.await;
                if let Ok(data) = &result {
                    let (clock, redactor) = (self.clock, &self.redactor);
                    metrics =
                        MetricProbe::evaluate(&source, data, &extractor, clock, redactor).await;
                }
                if body.format != BodyFormat::Json {
                    input = self.convert_input(&extractor, &source.name, &body).await;
                }
                result
            }
            (Err(error), _) => Err(error.failure),
            (_, Err(error)) => Err(Failure::new(Code::ExtractFailed, error.message)),
        };
        let redact = |data: JsonData| self.redact_data(&data);
        ProviderProbe {
            source: source.name.clone(),
            provider: provider.name,
            elapsed: self.clock.instant().saturating_duration_since(started),
            raw_body,
            input,
            result: result.map(|data| JsonData::from_checked(redact(data))),
            metrics,
        }
    }

    /// Returns what a filter sees of `body`. The evaluation has a deadline of its own: that of the attempt is over when it
    /// failed for it.
    async fn convert_input(
        &self,
        extractor: &Extractor,
        source: &Name,
        body: &RawBody,
    ) -> Option<String> {
        let convert = async |filter| {
            let filter = Filter::compile(filter).ok()?;
            let deadline = self.clock.deadline(CONVERSION_TIMEOUT);
            let input = extractor.extract_body(source, &filter, body, deadline);
            Some(self.redact_data(&input.await.ok()?))
        };
        if let Some(input) = convert(".").await {
            return Some(input);
        }
        // JSON takes more bytes than other formats, and the result of a filter has a limit.
        let start = convert("tojson | .[:10000]").await?;
        let start: String = serde_json::from_str(&start).ok()?;
        Some(self.redactor.redact_beginning(&start))
    }
}

/// Whether every provider gave data.
pub(super) fn all_succeeded(probes: &[ProviderProbe]) -> bool {
    probes.iter().all(|probe| probe.result.is_ok())
}

/// Renders the outcomes as text: on a terminal pretty-printed side by side, elsewhere one line per text.
pub(super) fn format_probes(probes: &[ProviderProbe], terminal: Terminal) -> String {
    let mut out = String::new();
    for probe in probes {
        let (state, style) = match probe.result {
            Ok(_) => ("ok", TextStyle::Success),
            Err(_) => ("failed", TextStyle::Error),
        };
        let name = format!("{}, {}", probe.source, probe.provider);
        let name = terminal.apply_style(TextStyle::Bold, &name);
        let state = terminal.apply_style(style, state);
        let elapsed = Duration::from_millis(probe.elapsed.as_millis() as u64);
        let _ = writeln!(
            out,
            "\n{name}: {state} in {}",
            format_duration(elapsed, UnitStyle::Message)
        );
        let raw = probe.raw_body.as_deref().unwrap_or("no body");
        let (title, result) = match &probe.result {
            Ok(data) => ("EXTRACTED", data.as_json().to_owned()),
            Err(failure) => ("FAILED", format!("{}: {}", failure.code, failure.message)),
        };
        if let Some(width) = terminal.width {
            // What the filter sees says more than the raw body.
            let (left, text) = probe
                .input
                .as_deref()
                .map_or(("RAW", raw), |input| ("INPUT", input));
            let texts = [&pretty_json(text), &pretty_json(&result)];
            out += &format_side_by_side([left, title], texts.map(String::as_str), width);
        } else {
            let title = title.to_lowercase();
            let _ = writeln!(out, "  {:10} {}", "raw", format_raw_line(raw));
            if let Some(input) = &probe.input {
                let _ = writeln!(out, "  {:10} {}", "input", format_raw_line(input));
            }
            let _ = writeln!(out, "  {title:10} {}", escape_control(&result));
        }
        if let Some(metrics) = &probe.metrics {
            metrics.write_lines(&mut out);
        }
    }
    out
}

/// Returns the outcomes for `check --format json`.
pub(super) fn probes_json(probes: &[ProviderProbe]) -> Value {
    let probe_json = |probe: &ProviderProbe| {
        let (data, failure) = (probe.result.as_ref().ok(), probe.result.as_ref().err());
        json!({
            "source": probe.source.as_str(),
            "provider": probe.provider.as_str(),
            "ok": probe.result.is_ok(),
            "ms": probe.elapsed.as_secs_f64() * 1e3,
            "raw": probe.raw_body.as_deref().map(format_raw_line),
            "input": probe.input.as_deref().map(format_raw_line),
            "data": data.and_then(|data| serde_json::from_str::<Value>(data.as_json()).ok()),
            "code": failure.map(|failure| failure.code.as_str()),
            "error": failure.map(|failure| &*failure.message),
            "metrics": probe.metrics.as_ref().map(MetricProbe::to_json),
        })
    };
    probes.iter().map(probe_json).collect()
}

/// Returns the beginning of a body on one line, runs of white space collapsed.
fn format_raw_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_RAW_CHARS) {
        Some((end, _)) => format!("{}…", escape_control(&line[..end])),
        None => escape_control(&line),
    }
}

/// Returns JSON with one member per line; other text unchanged.
fn pretty_json(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text).ok();
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    pretty.unwrap_or_else(|| text.to_owned())
}

fn format_side_by_side(titles: [&str; 2], texts: [&str; 2], width: u16) -> String {
    // The separator ` │ ` takes three columns.
    let column_width = width.saturating_sub(INDENT + 3) / 2;
    let mut table = Table::new();
    if column_width < MIN_COLUMN_WIDTH {
        table.load_style(TableStyle::new());
        for (title, text) in titles.into_iter().zip(texts) {
            table.add_rows([[title], [&wrap_text(text, width - INDENT)]]);
        }
    } else {
        table.load_style(TableStyle::new().content_lines(COLUMN_STYLE));
        table
            .add_row(titles)
            .add_row(texts.map(|text| wrap_text(text, column_width)));
        if let Some(left) = table.column_mut(0) {
            let padded_width = Width::Fixed(INDENT + column_width + 1);
            left.set_constraint(ColumnConstraint::Absolute(padded_width));
        }
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if index == 0 { (INDENT, 1) } else { (1, 0) });
    }
    table.trim_fmt() + "\n"
}

/// Returns the first lines of `text`, each wrapped behind its own indentation.
fn wrap_text(text: &str, width: u16) -> String {
    let wrap_line = |line: &str| {
        // A body without line breaks may be a megabyte long: only what can be shown is wrapped.
        let max_chars = usize::from(width) * MAX_TEXT_LINES;
        let line: String = line.chars().take(max_chars).collect();
        let content = line.trim_start_matches(' ');
        let indent = (line.len() - content.len()).min(usize::from(width / 2));
        wrap_lines(&escape_control(content), indent as u16, Some(width))
    };
    let lines = text.lines().flat_map(wrap_line);
    let mut lines: Vec<String> = lines.take(MAX_TEXT_LINES + 1).collect();
    if lines.len() > MAX_TEXT_LINES {
        lines.truncate(MAX_TEXT_LINES - 1);
        lines.push("… and more, see --format json".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    const RAW: &str = "{\n  \"data\": {\n    \"amount\": \"97123.45\",\n    \"wo\": \"東京東京東京東京東京東京東京東京\"\n  }\n}";
    const DATA: &str = "{\n  \"usd\": 97123.45\n}";

    #[test]
    fn texts_fill_two_columns() {
        let text = format_side_by_side(["RAW", "EXTRACTED"], [RAW, DATA], 68);
        insta::assert_snapshot!(text, @r#"
          RAW                             │ EXTRACTED
          {                               │ {
            "data": {                     │   "usd": 97123.45
              "amount": "97123.45",       │ }
              "wo": "東京東京東京東京東京 │
              東京東京東京"               │
            }                             │
          }                               │
        "#);
        assert!(text.lines().all(|line| line.width() <= 68), "{text}");
    }

    #[test]
    fn narrow_columns_are_stacked() {
        let long = "1\n".repeat(30);
        let text = format_side_by_side(["RAW", "EXTRACTED"], [&long, DATA], 40);
        assert!(
            text.contains("  1\n  … and more, see --format json\n  EXTRACTED\n  {\n"),
            "{text}"
        );
        assert_eq!(text.matches("  1\n").count(), MAX_TEXT_LINES - 1, "{text}");
        let flood = "x".repeat(1 << 20);
        let flood = format_side_by_side(["RAW", "FAILED"], [&flood, ""], 80);
        assert_eq!(flood.lines().count(), MAX_TEXT_LINES + 1, "{flood}");
    }
}
