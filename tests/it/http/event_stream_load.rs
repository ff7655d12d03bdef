//! Two thousand clients of the stream, a tenth of which take nothing: what each costs, and how late the others are told.
//!
//! ```sh
//! CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test --test it stream_crowd -- --ignored --nocapture
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::process::Clock;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use crate::support::child_process::{TestProcess, program_command};
use crate::support::fake_provider::FakeProvider;
use crate::support::raw_client::RawHttpClient;

const READING_CLIENTS: usize = 1800;
const NON_READING_CLIENTS: usize = 200;
const ROUND_COUNT: usize = 60;
const STREAM_REQUEST: &[u8] = b"GET /resumen/stream HTTP/1.1\r\nHost: crowd\r\n\r\n";

/// When each round began, and how late each client heard of it.
#[derive(Default)]
struct DeliveryDelays {
    round_starts: Vec<Instant>,
    delays: Vec<Duration>,
}

/// Hears the stream to its end, noting when each round arrives.
async fn read_stream(address: SocketAddr, clock: Clock, ledger: Arc<Mutex<DeliveryDelays>>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(STREAM_REQUEST).await.unwrap();
    let (mut heard, mut tail) = (0, Vec::new());
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut chunk).await {
        if count == 0 {
            return;
        }
        tail.extend_from_slice(&chunk[..count]);
        if let Some(round) = newest_round(&tail).filter(|round| *round > heard) {
            heard = round;
            let mut ledger = ledger.lock().unwrap();
            let late = clock.instant() - ledger.round_starts[round - 1];
            ledger.delays.push(late);
        }
        tail.drain(..tail.len().saturating_sub(32));
    }
}

/// The number of the last round that these bytes tell whole.
fn newest_round(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    text.rsplit("\"round\":")
        .find_map(|rest| rest.split_once(',')?.0.parse().ok())
}

/// A client that asks and then takes nothing.
fn connect_non_reading(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    (&socket).write_all(STREAM_REQUEST).unwrap();
    socket
}

fn resident_kib(program: &TestProcess) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .next()
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

fn stream_client_count(address: SocketAddr) -> usize {
    let page = RawHttpClient::connect(address).get("/metrics");
    page.text()
        .lines()
        .find_map(|line| line.strip_prefix("resumen_stream_clients "))
        .unwrap()
        .parse()
        .unwrap()
}

async fn wait_for_async(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1200 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[test]
#[ignore = "a measurement: it takes half a minute and 4,000 descriptors"]
#[allow(clippy::print_stdout, reason = "a measurement")]
fn slow_stream_clients_delay_no_other() {
    let stub = FakeProvider::with_json(r#"{"round":0,"filler":""}"#);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resumen.toml");
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\ninterval = \"1h\"\n\
         min_interval = \"1ms\"\n",
        stub.url()
    );
    std::fs::write(&file, config).unwrap();
    let program = TestProcess::start(&mut program_command(
        &["--config", file.to_str().unwrap()],
        &[],
    ));
    let line = program.wait_for_stderr_line("listens");
    let address: SocketAddr = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let (clock, ledger) = (
        Clock::start(),
        Arc::new(Mutex::new(DeliveryDelays::default())),
    );
    let filler = "x".repeat(4000);
    let round = |n: usize| {
        stub.set_json(&format!(r#"{{"round":{n},"filler":"{filler}"}}"#));
        ledger.lock().unwrap().round_starts.push(clock.instant());
        assert_eq!(
            RawHttpClient::connect(address)
                .get("/resumen?fresh=1")
                .status,
            200
        );
    };
    round(1);
    let before = resident_kib(&program);
    let runtime = Runtime::new().unwrap();
    let _deaf: Vec<Socket> = (0..NON_READING_CLIENTS)
        .map(|_| connect_non_reading(address))
        .collect();
    for _ in 0..READING_CLIENTS {
        runtime.spawn(read_stream(address, clock, Arc::clone(&ledger)));
    }
    runtime.block_on(wait_for_async("all are there", || {
        stream_client_count(address) == READING_CLIENTS + NON_READING_CLIENTS
    }));
    ledger.lock().unwrap().delays.clear();
    for n in 2..ROUND_COUNT {
        round(n);
        std::thread::sleep(Duration::from_millis(100));
    }
    let each = (resident_kib(&program) - before) / (READING_CLIENTS + NON_READING_CLIENTS);
    let there = stream_client_count(address);
    let mut delays = std::mem::take(&mut ledger.lock().unwrap().delays);
    delays.sort();
    let at = |share: f64| delays[(delays.len() as f64 * share) as usize];
    let (p50, p99, max) = (at(0.5), at(0.99), delays[delays.len() - 1]);
    println!(
        "{there} clients: {each} bytes each; {} events, p50 {p50:?}, p99 {p99:?}, max {max:?}",
        delays.len()
    );
    runtime.block_on(wait_for_async("the deaf are dropped", || {
        let rounds = ledger.lock().unwrap().round_starts.len();
        round(rounds + 1);
        stream_client_count(address) == READING_CLIENTS
    }));
    assert!(each < 32 * 1024, "{each} bytes each");
    assert!(
        delays.len() >= READING_CLIENTS * (ROUND_COUNT - 2) / 2,
        "{} events",
        delays.len()
    );
    assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
}
