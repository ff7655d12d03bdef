//! Bounds of the whole service as figures:
//! `cargo test --release --test it bounds -- --ignored --nocapture --test-threads=1`.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use resumen::clock::Clock;
use resumen::domain::{Name, Secrets};
use resumen::fetch::{Fetch as _, HttpFetch};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;

use crate::fetch::{ask, provider};
use crate::support::fault::{self, FaultServer, Playbook, Script};
use crate::support::served::{SOON, Served};

/// Live requests at the same time.
const CROWD: usize = 10_000;

/// Sources that fail in the worst ways, or are healthy.
const SOURCES: usize = 64;

/// Slices of each kind, by turns, so that whatever else the machine does falls on both.
const SLICES: usize = 6;

fn providers() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn serve(script: &[&str]) -> FaultServer {
    FaultServer::start(Playbook {
        scripts: vec![Script::parse(script)],
        tls: None,
        prelude: None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints a figure"]
async fn ten_thousand_live_requests_make_one_call_per_source() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(serve(&["sleep 2s", "json {}", "again"]).await);
    }
    let source = |(n, server): (usize, &FaultServer)| {
        format!(
            "[sources.s{n}]\nurl = \"http://{}/\"\ninterval = \"1h\"\ntimeout = \"1m\"\n",
            server.address
        )
    };
    let sources: String = servers.iter().enumerate().map(source).collect();
    let served = Served::start(&format!("[store]\npath = \"\"\n{sources}"));
    let names: Vec<Name> = (0..3)
        .map(|n| Name::new(format!("s{n}").as_str()).unwrap())
        .collect();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (live, clock, names) = (
            served.service.engine.live.clone(),
            served.service.engine.clock,
            names.clone(),
        );
        crowd.spawn(async move {
            live.gather(
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
            .entries()
            .iter()
            .all(|entry| entry.reading.is_some())
    }));
    let calls: Vec<usize> = servers
        .iter()
        .map(|server| server.seen.heads().len())
        .collect();
    println!("{CROWD} concurrent live requests for 3 sources: {calls:?} upstream calls");
    assert_eq!(calls, [1, 1, 1]);
}

/// The worst that providers do, each to a sixteenth of the sources.
const WORST: [&[&str]; 4] = [
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

const HEALTHY: [&[&str]; 4] = [&["json {\"n\":1}", "again"]; 4];

/// What reading the snapshot costs in one slice.
#[derive(Debug, Clone, Copy)]
struct Slice {
    /// Nanoseconds of the serving threads' processor time per read.
    cpu: u64,
    /// Nanoseconds that a read took, the slowest of a hundred.
    p99: u64,
}

#[test]
#[ignore = "takes a minute; prints figures"]
fn readers_do_not_notice_that_every_source_fails() {
    let (mut healthy, mut failing) = (Vec::new(), Vec::new());
    for _ in 0..SLICES {
        healthy.push(slice(&HEALTHY));
        failing.push(slice(&WORST));
    }
    let ratio = |of: fn(&Slice) -> u64| median(&failing, of) / median(&healthy, of);
    let micros = |slices: &[Slice], of: fn(&Slice) -> u64| median(slices, of) / 1e3;
    println!(
        "a cached read while {SOURCES} sources fail in the worst ways, and while all are healthy (medians of {SLICES} slices by turns):\n\
         serving threads' CPU {:.1} µs against {:.1} µs ({:.2} ×), p99 {:.0} µs against {:.0} µs ({:.2} ×)",
        micros(&failing, |s| s.cpu),
        micros(&healthy, |s| s.cpu),
        ratio(|s| s.cpu),
        micros(&failing, |s| s.p99),
        micros(&healthy, |s| s.p99),
        ratio(|s| s.p99),
    );
    assert!(ratio(|s| s.cpu) < 1.5);
}

fn median(slices: &[Slice], of: fn(&Slice) -> u64) -> f64 {
    let mut values: Vec<u64> = slices.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2] as f64
}

/// Two seconds of reading one after the other from a service of its own.
fn slice(scripts: &[&[&str]; 4]) -> Slice {
    let runtime = providers();
    let servers: Vec<FaultServer> = runtime.block_on(async {
        let mut servers = Vec::new();
        for script in scripts {
            servers.push(serve(script).await);
        }
        servers
    });
    let source = |n: usize| {
        format!(
            "[sources.s{n}]\nurl = \"http://{}/\"\n",
            servers[n % 4].address
        )
    };
    let sources: String = (0..SOURCES).map(source).collect();
    let defaults = "[defaults]\ninterval = \"1s\"\ntimeout = \"1s\"\nttl = \"1m\"\n";
    let served = Served::start(&format!("[store]\npath = \"\"\n{defaults}{sources}"));
    served.get("/resumen");
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (clock, cpu) = (Clock::start(), serving());
    let (begun, mut took) = (clock.mark(), Vec::new());
    while clock.since(begun) < Duration::from_secs(2) {
        let asked = clock.mark();
        stream
            .write_all(b"GET /resumen HTTP/1.1\r\nHost: reader\r\n\r\n")
            .unwrap();
        read(&mut reader);
        took.push(clock.since(asked).as_nanos() as u64);
    }
    took.sort_unstable();
    Slice {
        cpu: (serving() - cpu) / took.len() as u64,
        p99: took[took.len() * 99 / 100],
    }
}

fn read(reader: &mut impl std::io::BufRead) {
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
fn serving() -> u64 {
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
fn no_fault_leaves_a_task_or_a_descriptor_behind() {
    let inner = [
        "--ignored",
        "--exact",
        "--nocapture",
        "bounds::every_fault_three_times",
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
async fn every_fault_three_times() {
    let mut faults = Vec::new();
    for scenario in fault::all() {
        let server = scenario.serve().await;
        faults.push((scenario, server));
    }
    let before = held();
    for _ in 0..3 {
        for (scenario, server) in &faults {
            let clock = Clock::start();
            let fetch = HttpFetch::with_lookup(clock, Secrets::default(), ask(&scenario.lookup));
            let deadline = clock.deadline(Duration::from_millis(100));
            let _ = fetch.fetch(&provider(scenario, server), deadline).await;
        }
    }
    // Providers notice a little later that their client has gone; a lookup that never ends is one task by design.
    let silent = faults
        .iter()
        .filter(|(scenario, _)| scenario.lookup.is_silent())
        .count();
    let all_gone = |now: (usize, usize)| now.0 <= before.0 + 3 * silent && now.1 <= before.1;
    let wait = async {
        while !all_gone(held()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(SOON, wait).await;
    let after = held();
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
fn held() -> (usize, usize) {
    (
        Handle::current().metrics().num_alive_tasks(),
        fs::read_dir("/proc/self/fd").unwrap().count(),
    )
}
