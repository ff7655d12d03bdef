//! Overhead of a live request over its slowest provider, for 3 to 300 sources: the complete service on loopback, with
//! providers in a separate process that respond after a fixed delay.
//!
//! `cargo bench --bench fanout`
//!
//! Overhead is the latency of a client beyond that delay, including the work of the providers. CPU time is that of the
//! service's process. `python3 benches/peers fanout` compares it with the original design, with the load on another core.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and panics on errors"
)]

#[path = "../tests/support/http_reply.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod http_reply;
#[path = "../tests/support/test_app.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a test module, of which a benchmark uses a part"
)]
mod test_app;
#[path = "../tests/support/wait.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod wait;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resumen::process::Clock;
use test_app::TestApp;
use tokio_util::sync::CancellationToken;

/// Delay of each provider.
const DELAY: Duration = Duration::from_millis(50);

/// Number of measured fan-outs.
const ROUNDS: usize = 60;

/// Number of fan-outs before the measurement, which fill the connection pool.
const WARM_UP: usize = 3;

/// Argument that makes this program serve the providers.
const PROVIDERS: &str = "--providers";

/// Unit of the CPU time in `/proc/self/stat`, in milliseconds: `USER_HZ` is 100 on Linux.
const TICK_MS: u64 = 10;

fn main() {
    if std::env::args().any(|argument| argument == PROVIDERS) {
        return serve_providers();
    }
    let (mut child, address) = spawn_providers();
    println!("{ROUNDS} fan-outs each, providers respond after {DELAY:?}\n");
    println!(
        "| sources | median overhead | p90 | CPU per upstream call |\n| --: | --: | --: | --: |"
    );
    for sources in [3, 30, 300] {
        let (mut overheads, cpu) = measure(&address, sources);
        overheads.sort_unstable();
        let [median, p90] =
            [ROUNDS / 2, ROUNDS * 9 / 10].map(|at| overheads[at].as_secs_f64() * 1e3);
        let per_call = cpu.as_secs_f64() * 1e6 / (ROUNDS * sources) as f64;
        println!("| {sources} | {median:.2} ms | {p90:.2} ms | {per_call:.0} µs |");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Serves the providers until the process is killed; prints their address.
fn serve_providers() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        resumen::simulator::serve(listener, Clock::start(), CancellationToken::new()).await;
    });
}

fn spawn_providers() -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = command
        .arg(PROVIDERS)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line.trim().to_owned())
}

/// Returns the overhead of each fan-out, and the CPU time of all.
fn measure(address: &str, sources: usize) -> (Vec<Duration>, Duration) {
    let mut text =
        "[store]\npath = \"\"\n[defaults]\nmax_per_host = 1000\ninterval = \"1h\"\nmin_interval = \"1ms\"\n".to_owned();
    for number in 0..sources {
        let delay = DELAY.as_millis();
        writeln!(
            text,
            "[sources.s{number}]\nurl = \"http://{address}/btc?delay={delay}ms\""
        )
        .unwrap();
    }
    let app = TestApp::start(&text);
    let clock = Clock::start();
    let mut stream = BufReader::new(TcpStream::connect(app.address).unwrap());
    (0..WARM_UP).for_each(|_| request_summary(&mut stream, sources));
    let before = cpu_time();
    let overheads = (0..ROUNDS).map(|_| {
        let started = clock.time_point();
        request_summary(&mut stream, sources);
        clock.elapsed_since(started).saturating_sub(DELAY)
    });
    (overheads.collect(), cpu_time().saturating_sub(before))
}

/// Sends a live request and reads the response. Panics unless every source is live.
fn request_summary(stream: &mut BufReader<TcpStream>, sources: usize) {
    stream
        .get_mut()
        .write_all(b"GET /resumen?fresh=1 HTTP/1.1\r\nHost: bench\r\n\r\n")
        .unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body.matches(r#""from":"live""#).count(), sources, "{body}");
}

/// Returns the CPU time of all threads of this process, including those that ended.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * TICK_MS)
}
