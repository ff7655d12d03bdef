//! Bounds of the whole service as figures:
//! `cargo test --release --test it bounds -- --ignored --nocapture --test-threads=1`.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use resumen::domain::{Name, SecretSet};
use resumen::fetch::{Fetch as _, HttpFetch};
use resumen::process::Clock;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;

use crate::support::faulty_provider;
use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::faulty_provider::{FaultPlan, FaultyProvider};
use crate::support::test_app::{TestApp, WAIT_LIMIT};
use crate::upstream::fetch_faults::{lookup_result, scenario_provider};

/// Live requests at the same time.
const LIVE_CLIENTS: usize = 10_000;

/// Sources that fail in the worst ways, or are healthy.
const SOURCE_COUNT: usize = 64;

/// Slices of each kind, by turns, so that whatever else the machine does falls on both.
const SLICE_COUNT: usize = 6;

fn provider_runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn start_scripted_provider(script: &[&str]) -> FaultyProvider {
    FaultyProvider::start(FaultPlan {
        scripts: vec![FaultScript::parse(script)],
        tls: None,
        is_http2: false,
        prelude: None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints a figure"]
async fn live_burst_makes_one_call_per_source() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(start_scripted_provider(&["sleep 2s", "json {}", "again"]).await);
    }
    let source = |(n, server): (usize, &FaultyProvider)| {
        format!(
            "[sources.s{n}]\nurl = \"http://{}/\"\ninterval = \"1h\"\ntimeout = \"1m\"\n",
            server.address
        )
    };
    let sources: String = servers.iter().enumerate().map(source).collect();
    let served = TestApp::start(&format!("[store]\npath = \"\"\n{sources}"));
    let names: Vec<Name> = (0..3)
        .map(|n| Name::new(format!("s{n}").as_str()).unwrap())
        .collect();
    let mut crowd = JoinSet::new();
    for _ in 0..LIVE_CLIENTS {
        let (live, clock, names) = (
            served.service.core.live.clone(),
            served.service.core.clock,
            names.clone(),
        );
        crowd.spawn(async move {
            live.fetch_sources(
                &names,
                Duration::ZERO,
                clock.deadline(Duration::from_secs(60)),
            )
            .await
        });
    }
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| {
        answer
            .snapshot
            .source_states()
            .iter()
            .all(|entry| entry.reading.is_some())
    }));
    let calls: Vec<usize> = servers
        .iter()
        .map(|server| server.counters.request_heads().len())
        .collect();
    println!("{LIVE_CLIENTS} concurrent live requests for 3 sources: {calls:?} upstream calls");
    assert_eq!(calls, [1, 1, 1]);
}

/// The worst that providers do, each to a sixteenth of the sources.
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

/// What reading the snapshot costs in one slice.
#[derive(Debug, Clone, Copy)]
struct ReadCost {
    /// Nanoseconds of the serving threads' processor time per read.
    cpu_nanos: u64,
    /// Nanoseconds that a read took, the slowest of a hundred.
    p99_nanos: u64,
}

#[test]
#[ignore = "takes a minute; prints figures"]
fn failing_sources_do_not_slow_readers() {
    let (mut healthy, mut failing) = (Vec::new(), Vec::new());
    for _ in 0..SLICE_COUNT {
        healthy.push(measure_slice(&HEALTHY_SCRIPTS));
        failing.push(measure_slice(&WORST_SCRIPTS));
    }
    let ratio = |of: fn(&ReadCost) -> u64| median(&failing, of) / median(&healthy, of);
    let micros = |slices: &[ReadCost], of: fn(&ReadCost) -> u64| median(slices, of) / 1e3;
    println!(
        "a cached read while {SOURCE_COUNT} sources fail in the worst ways, and while all are healthy (medians of {SLICE_COUNT} slices by turns):\n\
         serving threads' CPU {:.1} µs against {:.1} µs ({:.2} ×), p99 {:.0} µs against {:.0} µs ({:.2} ×)",
        micros(&failing, |s| s.cpu_nanos),
        micros(&healthy, |s| s.cpu_nanos),
        ratio(|s| s.cpu_nanos),
        micros(&failing, |s| s.p99_nanos),
        micros(&healthy, |s| s.p99_nanos),
        ratio(|s| s.p99_nanos),
    );
    assert!(ratio(|s| s.cpu_nanos) < 1.5);
}

fn median(slices: &[ReadCost], of: fn(&ReadCost) -> u64) -> f64 {
    let mut values: Vec<u64> = slices.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2] as f64
}

/// Two seconds of reading one after the other from a service of its own.
fn measure_slice(scripts: &[&[&str]; 4]) -> ReadCost {
    let runtime = provider_runtime();
    let servers: Vec<FaultyProvider> = runtime.block_on(async {
        let mut servers = Vec::new();
        for script in scripts {
            servers.push(start_scripted_provider(script).await);
        }
        servers
    });
    let source = |n: usize| {
        format!(
            "[sources.s{n}]\nurl = \"http://{}/\"\n",
            servers[n % 4].address
        )
    };
    let sources: String = (0..SOURCE_COUNT).map(source).collect();
    let defaults = "[defaults]\ninterval = \"1s\"\ntimeout = \"1s\"\nttl = \"1m\"\n";
    let served = TestApp::start(&format!("[store]\npath = \"\"\n{defaults}{sources}"));
    served.get("/resumen");
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (clock, cpu) = (Clock::start(), worker_cpu_nanos());
    let (begun, mut took) = (clock.time_point(), Vec::new());
    while clock.elapsed_since(begun) < Duration::from_secs(2) {
        let asked = clock.time_point();
        stream
            .write_all(b"GET /resumen HTTP/1.1\r\nHost: reader\r\n\r\n")
            .unwrap();
        read_snapshot(&mut reader);
        took.push(clock.elapsed_since(asked).as_nanos() as u64);
    }
    took.sort_unstable();
    ReadCost {
        cpu_nanos: (worker_cpu_nanos() - cpu) / took.len() as u64,
        p99_nanos: took[took.len() * 99 / 100],
    }
}

fn read_snapshot(reader: &mut impl std::io::BufRead) {
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
}

/// Nanoseconds of processor time that the serving threads of this process have had.
fn worker_cpu_nanos() -> u64 {
    let tasks = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| task.unwrap().path());
    let serves = tasks.filter(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("serve"))
    });
    let time = |task: std::path::PathBuf| {
        let stat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        stat.split(' ')
            .next()
            .and_then(|nanos| nanos.parse::<u64>().ok())
            .unwrap_or_default()
    };
    serves.map(time).sum()
}

/// Counts are of the whole process, so this one has a process of its own.
#[test]
fn faults_leak_no_task_or_descriptor() {
    let inner = [
        "--ignored",
        "--exact",
        "--nocapture",
        "ops::load_bounds::child_runs_every_fault_three_times",
    ];
    let output = Command::new(std::env::current_exe().unwrap())
        .args(inner)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "in a process of its own, which the test above makes; prints figures"]
async fn child_runs_every_fault_three_times() {
    let mut faults = Vec::new();
    for scenario in faulty_provider::load_scenarios() {
        let server = scenario.start_provider().await;
        faults.push((scenario, server));
    }
    let before = count_tasks_and_descriptors();
    for _ in 0..3 {
        for (scenario, server) in &faults {
            let clock = Clock::start();
            let fetch = HttpFetch::with_resolver(
                clock,
                SecretSet::default(),
                lookup_result(&scenario.lookup),
            );
            let deadline = clock.deadline(Duration::from_millis(100));
            let _ = fetch
                .fetch(&scenario_provider(scenario, server), deadline.into())
                .await;
        }
    }
    // Providers notice a little later that their client has gone; a lookup that never ends is one task by design.
    let silent = faults
        .iter()
        .filter(|(scenario, _)| scenario.lookup.never_resolves())
        .count();
    let all_gone = |now: (usize, usize)| now.0 <= before.0 + 3 * silent && now.1 <= before.1;
    let wait = async {
        while !all_gone(count_tasks_and_descriptors()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(WAIT_LIMIT, wait).await;
    let after = count_tasks_and_descriptors();
    println!(
        "after {} attempts: {} tasks (before: {}, {silent} lookups never end), {} descriptors (before: {})",
        3 * faults.len(),
        after.0,
        before.0,
        after.1,
        before.1
    );
    assert!(gone.is_ok());
}

/// Tasks of this runtime, and descriptors of the process.
fn count_tasks_and_descriptors() -> (usize, usize) {
    (
        Handle::current().metrics().num_alive_tasks(),
        fs::read_dir("/proc/self/fd").unwrap().count(),
    )
}
