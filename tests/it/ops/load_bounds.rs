//! Measurements of the whole service under load and faults:
//! `cargo test --release --test it bounds -- --ignored --nocapture --test-threads=1`.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use resumen::domain::{Name, Redactor};
use resumen::fetch::{Fetch as _, HttpFetch};
use resumen::process::Clock;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::support::child_process::{ignored_test_command, run_ignored_test};
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::fault_scenario::{FaultScenario, load_scenarios};
use crate::support::raw_client::RawHttpClient;
use crate::support::test_app::TestApp;
use crate::support::wait::wait_until_async;
use crate::upstream::fetch_faults::{lookup_result, scenario_provider};

/// Number of concurrent live requests.
const LIVE_CLIENTS: usize = 10_000;

/// Number of sources.
const SOURCE_COUNT: usize = 64;

/// Number of slices with healthy and with failing sources, which alternate so that other load affects
/// both.
const SLICE_COUNT: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn live_burst_makes_one_call_per_source() {
    let script = ["sleep 2s", "json {}", "again"];
    let providers = [(); 3].map(|()| FakeProvider::with_script(&script));
    let table = |(n, provider): (usize, &FakeProvider)| {
        let url = provider.url();
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"1h\"\ntimeout = \"1m\"\n")
    };
    let sources: String = providers.iter().enumerate().map(table).collect();
    let app = TestApp::start(&format!("[store]\npath = \"\"\n{sources}"));
    let names: Vec<Name> = (0..3)
        .map(|n| Name::new(format!("s{n}").as_str()).unwrap())
        .collect();
    let mut requests = JoinSet::new();
    for _ in 0..LIVE_CLIENTS {
        let (live, clock, names) = (
            app.service.core.live.clone(),
            app.service.core.clock,
            names.clone(),
        );
        requests.spawn(async move {
            live.fetch_sources(
                &names,
                Duration::ZERO,
                clock.deadline(Duration::from_secs(60)),
            )
            .await
        });
    }
    let results = requests.join_all().await;
    assert!(results.iter().all(|result| {
        result
            .snapshot
            .source_states()
            .iter()
            .all(|entry| entry.reading.is_some())
    }));
    let calls: Vec<usize> = providers.iter().map(FakeProvider::call_count).collect();
    println!("{LIVE_CLIENTS} concurrent live requests for 3 sources: {calls:?} upstream calls");
    assert_eq!(calls, [1, 1, 1]);
}

/// Scripts that cost the service the most, each for a quarter of the sources.
const WORST_SCRIPTS: [&[&str]; 4] = [
    &[
        "head 200 | Content-Encoding: gzip",
        "send gzip zeros 200000000",
    ],
    &["head 200", "flood times 8192 11111111"],
    &["head 200 | Content-Length: 1000", "drip 10ms times 1000 1"],
    &[
        "head 200 | Transfer-Encoding: chunked",
        "flood times 2000 1\\r\\n1\\r\\n",
    ],
];

const HEALTHY_SCRIPTS: [&[&str]; 4] = [&["json {\"n\":1}", "again"]; 4];

/// The cost of reading the snapshot in one slice.
#[derive(Debug, Clone, Copy)]
struct ReadCost {
    /// CPU time of the worker threads per request.
    cpu_nanos: u64,
    /// The 99th percentile of the response time.
    p99_nanos: u64,
}

#[test]
#[ignore = "a measurement: takes a minute"]
fn failing_sources_do_not_slow_readers() {
    let (mut healthy, mut failing) = (Vec::new(), Vec::new());
    for _ in 0..SLICE_COUNT {
        healthy.push(measure_slice(HEALTHY_SCRIPTS, ""));
        failing.push(measure_slice(WORST_SCRIPTS, ""));
    }
    let ratio = |value: fn(&ReadCost) -> u64| median(&failing, value) / median(&healthy, value);
    let micros = |slices: &[ReadCost], value: fn(&ReadCost) -> u64| median(slices, value) / 1e3;
    println!(
        "a cached read while {SOURCE_COUNT} sources fail, and while all are healthy (medians of {SLICE_COUNT} slices):\n\
         CPU of the worker threads {:.1} µs against {:.1} µs ({:.2} ×), p99 {:.0} µs against {:.0} µs ({:.2} ×)",
        micros(&failing, |s| s.cpu_nanos),
        micros(&healthy, |s| s.cpu_nanos),
        ratio(|s| s.cpu_nanos),
        micros(&failing, |s| s.p99_nanos),
        micros(&healthy, |s| s.p99_nanos),
        ratio(|s| s.p99_nanos),
    );
    assert!(ratio(|s| s.cpu_nanos) < 1.5);
}

/// Filters that never end, exhaust memory or overflow the stack.
const WORST_FILTERS: [&str; 8] = [
    "def f: f; f",
    "last(repeat(.))",
    "def f: 1 + f; f",
    "[range(1e9)]",
    "reduce range(60) as $i (1; [., .]) | tojson | length",
    "[limit(1e8; repeat(.))]",
    "reduce range(1e12) as $i (0; . + 1)",
    "last(recurse(., .))",
];

#[test]
#[ignore = "a measurement: takes a minute"]
fn hostile_filters_do_not_slow_readers() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    let table = |(n, filter)| {
        let url = provider.url();
        format!("[sources.h{n}]\nurl = \"{url}\"\nextract = '{filter}'\n")
    };
    let hostile: String = WORST_FILTERS.iter().enumerate().map(table).collect();
    // As many sources, so that the answers have about one size.
    let harmless: String = ["{n: .n}"; WORST_FILTERS.len()]
        .iter()
        .enumerate()
        .map(table)
        .collect();
    let (mut calm, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..SLICE_COUNT {
        calm.push(measure_slice(HEALTHY_SCRIPTS, &harmless));
        attacked.push(measure_slice(HEALTHY_SCRIPTS, &hostile));
    }
    let ratio = |value: fn(&ReadCost) -> u64| median(&attacked, value) / median(&calm, value);
    let (cpu, p99) = (ratio(|s| s.cpu_nanos), ratio(|s| s.p99_nanos));
    println!(
        "a cached read while {} hostile filters run, against harmless ones: CPU {cpu:.2} ×, p99 {p99:.2} ×\n\
         {attacked:?}\n{calm:?}",
        WORST_FILTERS.len()
    );
    // The aims are 1.1 and 2 on a machine that does nothing else.
    assert!(cpu < 1.5, "{cpu}");
}

fn median(slices: &[ReadCost], value: fn(&ReadCost) -> u64) -> f64 {
    let mut values: Vec<u64> = slices.iter().map(value).collect();
    values.sort_unstable();
    values[values.len() / 2] as f64
}

/// Sends requests to a new service, which also has `more_sources`, for two seconds, one after the other.
fn measure_slice(scripts: [&[&str]; 4], more_sources: &str) -> ReadCost {
    let providers = scripts.map(FakeProvider::with_script);
    let table = |n: usize| format!("[sources.s{n}]\nurl = \"{}\"\n", providers[n % 4].url());
    let sources: String = (0..SOURCE_COUNT).map(table).collect();
    let defaults = "[defaults]\ninterval = \"1s\"\ntimeout = \"1s\"\nttl = \"1m\"\n";
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n{defaults}{sources}{more_sources}"
    ));
    app.get("/resumen");
    let mut client = RawHttpClient::connect(app.address);
    let (clock, before) = (Clock::start(), worker_cpu_nanos());
    let (start, mut durations) = (clock.time_point(), Vec::new());
    while clock.elapsed_since(start) < Duration::from_secs(2) {
        let sent_at = clock.time_point();
        client.get("/resumen");
        durations.push(clock.elapsed_since(sent_at).as_nanos() as u64);
    }
    durations.sort_unstable();
    // Threads of an earlier service may end meanwhile, so only threads that still run count.
    let used = |(thread, nanos): (PathBuf, u64)| nanos - before.get(&thread).unwrap_or(&0);
    let cpu_nanos: u64 = worker_cpu_nanos().into_iter().map(used).sum();
    ReadCost {
        cpu_nanos: cpu_nanos / durations.len() as u64,
        p99_nanos: durations[durations.len() * 99 / 100],
    }
}

/// CPU time of each worker thread of this process.
fn worker_cpu_nanos() -> HashMap<PathBuf, u64> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let workers = threads.filter_map(|thread| {
        let path = thread.unwrap().path();
        let name = fs::read_to_string(path.join("comm")).ok()?;
        let times = fs::read_to_string(path.join("schedstat")).ok()?;
        let nanos = times.split(' ').next()?.parse().ok()?;
        name.starts_with("serve").then_some((path, nanos))
    });
    workers.collect()
}

/// Tasks and descriptors are counted per process, so the test runs in a child process.
#[test]
fn faults_leak_no_task_or_descriptor() {
    let test = "ops::load_bounds::child_runs_every_fault_three_times";
    run_ignored_test(&mut ignored_test_command(test));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a child process of faults_leak_no_task_or_descriptor"]
async fn child_runs_every_fault_three_times() {
    let start = |scenario: FaultScenario| {
        let provider = scenario.start_provider();
        (scenario, provider)
    };
    let faults: Vec<_> = load_scenarios().into_iter().map(start).collect();
    let before = count_tasks_and_descriptors();
    for _ in 0..3 {
        for (scenario, server) in &faults {
            let clock = Clock::start();
            let fetch = HttpFetch::with_resolver(
                clock,
                Redactor::default(),
                lookup_result(&scenario.lookup),
            );
            let deadline = clock.deadline(Duration::from_millis(100));
            let _ = fetch
                .fetch(&scenario_provider(scenario, server), deadline.into())
                .await;
        }
    }
    // A provider detects a closed connection with a delay. A lookup that never ends keeps its task.
    let silent = faults
        .iter()
        .filter(|(scenario, _)| scenario.lookup.never_resolves())
        .count();
    wait_until_async("the end of all tasks and connections", || {
        let (tasks, descriptors) = count_tasks_and_descriptors();
        tasks <= before.0 + 3 * silent && descriptors <= before.1
    })
    .await;
    let after = count_tasks_and_descriptors();
    println!(
        "after {} attempts: {} tasks (before: {}, {silent} lookups never end), {} descriptors (before: {})",
        3 * faults.len(),
        after.0,
        before.0,
        after.1,
        before.1
    );
}

/// Tasks of this runtime, and descriptors of the process.
fn count_tasks_and_descriptors() -> (usize, usize) {
    (
        Handle::current().metrics().num_alive_tasks(),
        fs::read_dir("/proc/self/fd").unwrap().count(),
    )
}
