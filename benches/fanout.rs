//! What a live answer costs over its slowest provider, for 3 to 300 sources: the whole service on loopback, its
//! providers in a process of their own, each answer a fixed time late.
//!
//! `cargo bench --bench fanout`
//!
//! Overhead is what a client waits beyond that time, the providers' own work included. Processor time is that of the
//! service's process. Beside the original design, and on cores of its own: `python3 benches/peers fanout`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop at what it did not expect"
)]

#[path = "../tests/support/test_app.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod test_app;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resumen::process::Clock;
use test_app::TestApp;
use tokio_util::sync::CancellationToken;

/// How late each provider answers.
const DELAY: Duration = Duration::from_millis(50);

/// Fan-outs that are measured, after some that fill the pool of connections.
const ROUNDS: usize = 60;
const WARM_UP: usize = 3;

/// The argument with which this program is a process of providers.
const PROVIDERS: &str = "--providers";

/// A tick of processor time in milliseconds, on every Linux that Rust runs on.
const TICK: u64 = 10;

fn main() {
    if std::env::args().any(|argument| argument == PROVIDERS) {
        return provide();
    }
    let (mut child, address) = providers();
    println!("{ROUNDS} fan-outs each, providers answer after {DELAY:?}\n");
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

/// Providers until killed; says where they listen.
fn provide() {
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

fn providers() -> (Child, String) {
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

/// The overhead of each fan-out, and the processor time of all.
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
    let served = TestApp::start(&text);
    let clock = Clock::start();
    let mut stream = BufReader::new(TcpStream::connect(served.address).unwrap());
    (0..WARM_UP).for_each(|_| ask(&mut stream, sources));
    let before = processor_time();
    let overheads = (0..ROUNDS).map(|_| {
        let begun = clock.time_point();
        ask(&mut stream, sources);
        clock.elapsed_since(begun).saturating_sub(DELAY)
    });
    (overheads.collect(), processor_time().saturating_sub(before))
}

/// One live answer, complete.
fn ask(stream: &mut BufReader<TcpStream>, sources: usize) {
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

/// Of all threads of this process, those that ended included.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * TICK)
}
