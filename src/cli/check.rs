//! `check`: prints every problem of a configuration, or its sources and the calls per day that they make.
//!
//! No socket is opened, except with `--live`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::arguments::{CheckArguments, CheckFormat};
use super::call_estimate::{CallEstimate, estimate_origin_calls, estimate_provider_calls};
use super::command::{CommandError, exit_code};
use super::layout::borderless_table;
use super::live_check::{self, ProviderProbe};
use super::load_config::ConfigLocation;
use super::terminal::{Terminal, print_stdout};
use crate::config::{self, Config, ConfigError, ConfigProblem};
use crate::domain::{Name, Provider, Source, SourceKind};
use crate::text::{UnitStyle, format_duration};

/// Prints the findings to standard output. In text format, problems go to standard error.
pub(super) fn run(arguments: &CheckArguments) -> Result<ExitCode, CommandError> {
    if arguments.schema {
        print_stdout(format!("{:#}\n", config::json_schema()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let location = ConfigLocation::find(&arguments.configuration, None);
    match arguments.format {
        CheckFormat::Text => {
            let config = location.require_config()?;
            // Before the output: an error of the program must not follow half of a report.
            let probes = run_probes(arguments, &config)?;
            let terminal = Terminal::from_stream(&std::io::stdout());
            let findings = format_findings(&config, terminal.has_colour);
            print_stdout(findings + &live_check::format_probes(&probes, terminal))?;
            Ok(exit_code(live_check::all_succeeded(&probes)))
        }
        CheckFormat::Json => {
            // An invalid configuration is a finding here, so it goes to standard output like a valid one.
            let loaded = location.read_config();
            let mut findings = findings_json(&location.path.display().to_string(), &loaded);
            let mut code = ExitCode::from(2);
            if let Ok(config) = &loaded {
                let probes = run_probes(arguments, config)?;
                if arguments.live {
                    findings["live"] = live_check::probes_json(&probes);
                }
                code = exit_code(live_check::all_succeeded(&probes));
            }
            print_stdout(format!("{findings:#}\n"))?;
            Ok(code)
        }
    }
}

/// Calls every provider if `--live` is given.
fn run_probes(arguments: &CheckArguments, config: &Config) -> anyhow::Result<Vec<ProviderProbe>> {
    let probes = arguments.live.then(|| live_check::probe_all(config));
    Ok(probes.transpose()?.unwrap_or_default())
}

fn format_findings(config: &Config, colour: bool) -> String {
    let mut out = String::new();
    for warning in &config.warnings {
        let _ = writeln!(out, "{}\n", warning.render_text(colour));
    }
    let (path, sources) = (config.path.display(), config.sources.iter());
    let fetched = sources.filter_map(|source| source.schedule()).count();
    let derived = config.sources.len() - fetched;
    let noun = if fetched == 1 { "source" } else { "sources" };
    let counts = format!("{fetched} {noun}, {derived} derived");
    let _ = writeln!(out, "{path} is valid: {counts}\n");
    let _ = writeln!(out, "{}\n", source_table(config).trim_fmt());
    let _ = writeln!(out, "{}", call_table(config).trim_fmt());
    out
}

fn source_table(config: &Config) -> Table {
    let mut table = borderless_table([
        "SOURCE",
        "INTERVAL",
        "TIMEOUT",
        "FRESH",
        "THEN STALE",
        "PROVIDERS",
    ]);
    for source in &config.sources {
        let origin = match &source.kind {
            SourceKind::Fetched { providers, .. } => {
                join_names(providers.iter().map(|provider| &provider.name), ", then ")
            }
            SourceKind::Derived { inputs, .. } => {
                format!("computed from {}", join_names(inputs, ", "))
            }
        };
        let schedule = source.schedule();
        let interval =
            schedule.map(|schedule| format_duration(schedule.interval, UnitStyle::Syntax));
        let timeout = schedule.map(|schedule| format_duration(schedule.timeout, UnitStyle::Syntax));
        table.add_row([
            source.name.to_string(),
            interval.unwrap_or_default(),
            timeout.unwrap_or_default(),
            format_duration(source.freshness_policy.ttl, UnitStyle::Syntax),
            format_duration(source.freshness_policy.max_stale, UnitStyle::Syntax),
            origin,
        ]);
    }
    table
}

fn join_names<'n>(names: impl IntoIterator<Item = &'n Name>, separator: &str) -> String {
    let names: Vec<&str> = names.into_iter().map(Name::as_str).collect();
    names.join(separator)
}

fn call_table(config: &Config) -> Table {
    let mut table = borderless_table([
        "CALLS A DAY",
        "SCHEDULED",
        "IF OTHERS FAIL",
        "AT MOST, LIVE",
    ]);
    let mut add_row = |name: String, calls: CallEstimate| {
        let at_most = calls.at_most.map(|calls| calls.to_string());
        table.add_row([
            name,
            calls.scheduled.to_string(),
            calls.if_others_fail.to_string(),
            at_most.unwrap_or_else(|| "no bound".to_owned()),
        ]);
    };
    for source in &config.sources {
        let Some(schedule) = source.schedule() else {
            continue;
        };
        for (rank, provider) in source.providers().iter().enumerate() {
            let name = format!("{}, {}", source.name, provider.name);
            add_row(name, estimate_provider_calls(schedule, rank));
        }
    }
    for origin in estimate_origin_calls(&config.sources) {
        add_row(format!("{} total", origin.origin), origin.calls_per_day);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn findings_json(file: &str, loaded: &Result<Config, ConfigError>) -> Value {
    let problems = match loaded {
        Ok(config) => &config.warnings,
        Err(error) => &error.problems,
    };
    let mut findings = json!({
        "file": file,
        "valid": loaded.is_ok(),
        "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
    });
    if let Ok(config) = loaded {
        let sources = config.sources.iter();
        findings["sources"] = sources.map(|source| source_json(source)).collect();
        findings["origins"] = json!(estimate_origin_calls(&config.sources));
    }
    findings
}

fn problem_json(problem: &ConfigProblem) -> Value {
    let location = problem.location.as_ref();
    json!({
        "severity": problem.severity.as_str(),
        "file": &*problem.file,
        "line": location.map(|location| location.line),
        "column": location.map(|location| location.column),
        "message": problem.message,
        "help": problem.help,
    })
}

fn source_json(source: &Source) -> Value {
    let mut value = json!({
        "name": source.name.as_str(),
        "ttl_s": source.freshness_policy.ttl.as_secs_f64(),
        "max_stale_s": source.freshness_policy.max_stale.as_secs_f64(),
    });
    match &source.kind {
        SourceKind::Derived { inputs, .. } => {
            value["from"] = inputs.iter().map(Name::as_str).collect();
        }
        SourceKind::Fetched {
            providers,
            schedule,
        } => {
            value["interval_s"] = json!(schedule.interval.as_secs_f64());
            value["timeout_s"] = json!(schedule.timeout.as_secs_f64());
            value["min_interval_s"] = json!(schedule.min_interval.as_secs_f64());
            value["hedge_after_s"] =
                json!(schedule.hedge_after.as_ref().map(Duration::as_secs_f64));
            let provider_json = |(rank, provider): (usize, &Provider)| {
                json!({
                    "name": provider.name.as_str(),
                    "origin": provider.request.url.origin().ascii_serialization(),
                    "calls_per_day": estimate_provider_calls(schedule, rank),
                })
            };
            value["providers"] = providers.iter().enumerate().map(provider_json).collect();
        }
    }
    value
}
