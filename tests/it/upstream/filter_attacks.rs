//! Hundreds of hostile filters and bodies against one service in a memory limit of 128 MiB, as in the
//! compose file: each ends with its code, the service lives, and other sources stay fresh.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;
use serde_json::Value;

use super::filter_processes::workers_of;
use crate::support::child_process::TestProcess;
use crate::support::fake_provider::FakeProvider;
use crate::support::hostile_filters::{hostile_bodies, hostile_filters};
use crate::support::memory_group::MemoryGroup;
use crate::support::process_usage::measure_usage;
use crate::support::service_process::{ServiceFolder, ServiceProcess, listening_url};

/// The sources `bad…` of these filters, of which the first has the number `first`.
pub fn hostile_sources(
    filters: &[String],
    first: usize,
    providers: &[FakeProvider],
    interval: &str,
) -> String {
    let mut sources = String::new();
    for (number, filter) in (first..).zip(filters) {
        let url = providers[number % providers.len()].url();
        let extract = serde_json::to_string(filter).unwrap();
        let _ = write!(
            sources,
            "[sources.bad{number}]\nurl = \"{url}\"\nextract = {extract}\n\
             interval = \"{interval}\"\ntimeout = \"2s\"\n"
        );
    }
    sources
}

/// How many hostile sources the service has at a time: their bodies of 1 MiB wait in its memory.
const BATCH: usize = 24;

#[test]
fn hostile_filters_end_with_their_codes() {
    let Some(group) = MemoryGroup::with_limit(128 << 20) else {
        return;
    };
    let filters = hostile_filters();
    assert!(filters.len() >= 320, "{} filters", filters.len());
    let providers: Vec<FakeProvider> = hostile_bodies()
        .iter()
        .map(|body| FakeProvider::with_json(body))
        .collect();
    let good = FakeProvider::with_json("{\"n\":1}");
    let base = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"\"\n[sources.good]\nurl = \"{}\"\n\
         extract = '{{n: (.n + 1)}}'\ninterval = \"2s\"\ntimeout = \"2s\"\n",
        good.url()
    );
    let folder = ServiceFolder::new(&base);
    let mut command = group.command(Path::new(env!("CARGO_BIN_EXE_resumen")));
    command
        .args(["serve", "--config", "resumen.toml"])
        .current_dir(folder.path());
    let service = start(&mut command);
    let (mut oldest, mut most_processes) = (0.0_f64, 0);
    let mut counts = BTreeMap::<String, usize>::new();
    for (batch, filters) in filters.chunks(BATCH).enumerate() {
        let first = batch * BATCH;
        folder.write_config(&(base.clone() + &hostile_sources(filters, first, &providers, "1h")));
        service.send_signal(Signal::HUP);
        service.wait_for_log("configuration reloaded");
        let by = Clock::start().deadline(Duration::from_secs(60));
        let codes = loop {
            let results = service.results("/resumen");
            oldest = oldest.max(results["good"]["age_ms"].as_f64().unwrap_or_default());
            most_processes = most_processes.max(group.processes().len());
            let codes = hostile_codes(&results, first..first + filters.len());
            if codes.iter().all(|code| code != "pending") {
                break codes;
            }
            assert!(Clock::start().instant() < by.at, "{codes:?} of {filters:?}");
            std::thread::sleep(Duration::from_millis(50));
        };
        for (filter, code) in filters.iter().zip(codes) {
            assert!(CODES.contains(&code.as_str()), "{filter}: {code}");
            *counts.entry(code).or_default() += 1;
        }
    }
    println!(
        "{} filters: {counts:?}; other source at most {oldest} ms old; {most_processes} processes",
        filters.len()
    );
    assert!(
        counts["extract_failed"] > 30 && counts["extract_timeout"] > 10,
        "{counts:?}"
    );
    // The interval with its jitter, and an attempt of the whole timeout.
    assert!(oldest < 6_000.0, "{oldest} ms");
    // The service, its filter processes, and those that are being replaced.
    assert!(most_processes <= 8, "{most_processes} processes");
    let good = &service.results("/resumen")["good"];
    assert!(good["ok"] == true && good["data"]["n"] == 2, "{good}");
    let usage = measure_usage(service.process.pid(), &service.base_url);
    assert!(usage.resident_kib < 100 << 10, "{usage:?}");
    assert!(workers_of(service.process.pid()).len() <= 3);
    service.stop();
}

/// How an attempt may end: a bomb that its frame catches or cuts short gives data, and a hostile body
/// does not reach the filter. jaq panics at some dates, which the worker contains.
pub const CODES: [&str; 7] = [
    "extract_failed",
    "extract_timeout",
    "ok",
    "not_json",
    "json_too_deep",
    "empty_body",
    "panic",
];

pub fn start(command: &mut std::process::Command) -> ServiceProcess {
    let process = TestProcess::start(command);
    let base_url = listening_url(&process);
    ServiceProcess { process, base_url }
}

/// The codes of these hostile sources, `ok` with data.
pub fn hostile_codes(results: &Value, numbers: Range<usize>) -> Vec<String> {
    let code = |number| {
        let source = &results[format!("bad{number}")];
        if source.is_null() {
            return "pending".to_owned();
        }
        source["code"].as_str().unwrap_or("ok").to_owned()
    };
    numbers.map(code).collect()
}
