//! `check`: every problem of a configuration, or what it means and how many calls a day it costs.
//!
//! Opens no socket, unless it is to ask each provider once (`--live`).

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::{CheckArguments, CheckFormat};
use super::call_estimate;
use super::call_estimate::CallEstimate;
use super::live_check;
use super::live_check::ProviderProbe;
use super::load_config::ConfigLocation;
use super::once_table::Terminal;
use super::terminal;
use super::terminal::CommandError;
use crate::config::{Config, ConfigError, ConfigProblem, format_duration};
use crate::domain::{Name, Provider, Schedule, Source, SourceKind};

/// Tells what it finds on standard output; as text, problems go to standard error.
pub(super) fn run(arguments: &CheckArguments) -> Result<ExitCode, CommandError> {
    let origin = ConfigLocation::find(&arguments.configuration, None);
    match arguments.format {
        CheckFormat::Text => {
            let config = origin.require_config()?;
            let probes = probe_if_requested(arguments, &config)?;
            let canvas = Terminal::from_stream(&std::io::stdout());
            terminal::print_stdout(
                format_text(&config, canvas.has_colour)
                    + &live_check::format_probes(&probes, canvas),
            )?;
            Ok(probes_exit_code(&probes))
        }
        CheckFormat::Json => {
            let loaded = origin.read_config();
            let probes = loaded.as_ref().map_or(Ok(Vec::new()), |config| {
                probe_if_requested(arguments, config)
            })?;
            let file = origin.path.display().to_string();
            let mut findings = build_findings(&file, &loaded);
            if arguments.live && loaded.is_ok() {
                findings["live"] = live_check::probes_json(&probes);
            }
            terminal::print_stdout(format!("{findings:#}\n"))?;
            Ok(if loaded.is_ok() {
                probes_exit_code(&probes)
            } else {
                ExitCode::from(2)
            })
        }
    }
}

/// What each provider answers now, if that was asked for.
fn probe_if_requested(
    arguments: &CheckArguments,
    config: &Config,
) -> anyhow::Result<Vec<ProviderProbe>> {
    if arguments.live {
        live_check::probe_all(config)
    } else {
        Ok(Vec::new())
    }
}

fn probes_exit_code(probes: &[ProviderProbe]) -> ExitCode {
    if live_check::all_succeeded(probes) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The findings for people.
fn format_text(config: &Config, colour: bool) -> String {
    let mut text = String::new();
    for warning in &config.warnings {
        let _ = writeln!(text, "{}\n", warning.render_text(colour));
    }
    let derived = config
        .sources
        .iter()
        .filter(|source| source.schedule().is_none())
        .count();
    let fetched = config.sources.len() - derived;
    let _ = writeln!(
        text,
        "{} is valid: {fetched} sources, {derived} derived\n",
        config.path.display()
    );
    text.push_str(&format_columns(&source_rows(config), false));
    text.push('\n');
    text.push_str(&format_columns(&call_rows(config), true));
    text
}

fn source_rows(config: &Config) -> Vec<Vec<String>> {
    let head = [
        "SOURCE",
        "INTERVAL",
        "TIMEOUT",
        "FRESH",
        "THEN STALE",
        "PROVIDERS",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for source in &config.sources {
        let names = match &source.kind {
            SourceKind::Fetched { providers, .. } => providers
                .iter()
                .map(|one| one.name.as_str())
                .collect::<Vec<_>>()
                .join(", then "),
            SourceKind::Derived { inputs: from, .. } => {
                format!(
                    "computed from {}",
                    from.iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
        };
        let pace = |pick: fn(&Schedule) -> Duration| {
            source
                .schedule()
                .map(pick)
                .map(format_duration)
                .unwrap_or_default()
        };
        let [ttl, max_stale] = [
            source.freshness_policy.ttl,
            source.freshness_policy.max_stale,
        ]
        .map(format_duration);
        rows.push(vec![
            source.name.to_string(),
            pace(|pace| pace.interval),
            pace(|pace| pace.timeout),
            ttl,
            max_stale,
            names,
        ]);
    }
    rows
}

fn call_rows(config: &Config) -> Vec<Vec<String>> {
    let head = [
        "CALLS A DAY",
        "SCHEDULED",
        "IF OTHERS FAIL",
        "AT MOST, LIVE",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut row = |name: String, calls: CallEstimate| {
        let most = calls
            .at_most
            .map_or_else(|| "no bound".to_owned(), |most| most.to_string());
        rows.push(vec![
            name,
            calls.scheduled.to_string(),
            calls.if_others_fail.to_string(),
            most,
        ]);
    };
    for source in &config.sources {
        let Some(pace) = source.schedule() else {
            continue;
        };
        for (rank, provider) in source.providers().iter().enumerate() {
            row(
                format!("{}, {}", source.name, provider.name),
                call_estimate::estimate_provider_calls(pace, rank),
            );
        }
    }
    for origin in call_estimate::estimate_origin_calls(iter_sources(config)) {
        row(format!("{} in all", origin.origin), origin.calls);
    }
    rows
}

/// Rows as columns as wide as they must be; all but the first to the right if they are `numbers`.
fn format_columns(rows: &[Vec<String>], numbers: bool) -> String {
    let wide = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(wide).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if numbers && column > 0 {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The findings for programs.
fn build_findings(file: &str, loaded: &Result<Config, ConfigError>) -> Value {
    let problems = match loaded {
        Ok(config) => &config.warnings,
        Err(report) => &report.problems,
    };
    let mut findings = json!({
        "file": file,
        "valid": loaded.is_ok(),
        "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
    });
    if let Ok(config) = loaded {
        let origins = call_estimate::estimate_origin_calls(iter_sources(config));
        let origin = |one: &call_estimate::OriginCalls| json!({"origin": one.origin, "calls_per_day": calls_json(one.calls)});
        findings["sources"] = iter_sources(config).map(source_json).collect();
        findings["origins"] = origins.iter().map(origin).collect();
    }
    findings
}

fn problem_json(problem: &ConfigProblem) -> Value {
    json!({
        "severity": problem.severity.as_str(),
        "file": &*problem.file,
        "line": problem.location.as_ref().map(|place| place.line),
        "column": problem.location.as_ref().map(|place| place.column),
        "message": problem.message,
        "help": problem.help,
    })
}

fn source_json(source: &Source) -> Value {
    let seconds = |span: Duration| span.as_secs_f64();
    let mut value = json!({
        "name": source.name.as_str(),
        "ttl_s": seconds(source.freshness_policy.ttl),
        "max_stale_s": seconds(source.freshness_policy.max_stale),
    });
    match &source.kind {
        SourceKind::Derived { inputs: from, .. } => {
            value["from"] = from.iter().map(Name::as_str).collect()
        }
        SourceKind::Fetched {
            providers,
            schedule: pace,
        } => {
            value["interval_s"] = seconds(pace.interval).into();
            value["timeout_s"] = seconds(pace.timeout).into();
            value["min_interval_s"] = seconds(pace.min_interval).into();
            value["hedge_after_s"] = pace.hedge_after.map(seconds).into();
            let provider = |(rank, one): (usize, &Provider)| {
                let origin = one.request.url.origin().ascii_serialization();
                let calls = calls_json(call_estimate::estimate_provider_calls(pace, rank));
                json!({"name": one.name.as_str(), "origin": origin, "calls_per_day": calls})
            };
            value["providers"] = providers.iter().enumerate().map(provider).collect();
        }
    }
    value
}

fn calls_json(calls: CallEstimate) -> Value {
    json!({"scheduled": calls.scheduled, "if_others_fail": calls.if_others_fail, "at_most": calls.at_most})
}

fn iter_sources(config: &Config) -> impl Iterator<Item = &Source> {
    config.sources.iter().map(|source| &**source)
}
