//! A measurement of two thousand clients of the event stream, of which a tenth does not read: memory
//! per client and delay of the events.
//!
//! ```sh
//! CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test --test it event_stream_load -- --ignored --nocapture
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
use tokio::time::Instant;

use crate::support::fake_provider::FakeProvider;
use crate::support::process_usage::resident_kib;
use crate::support::service_process::{ServiceFolder, ServiceProcess};
use crate::support::wait::wait_until;

const READING_CLIENTS: usize = 1800;
const NON_READING_CLIENTS: usize = 200;
const ROUND_COUNT: usize = 60;
const STREAM_REQUEST: &[u8] = b"GET /resumen/stream HTTP/1.1\r\nHost: test\r\n\r\n";

/// The start of each round, and the delays of its events.
#[derive(Default)]
struct DeliveryDelays {
    round_starts: Vec<Instant>,
    delays: Vec<Duration>,
}

/// Reads the stream to its end and records the delay of each round.
async fn read_stream(address: SocketAddr, clock: Clock, delays: Arc<Mutex<DeliveryDelays>>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(STREAM_REQUEST).await.unwrap();
    let (mut newest, mut tail) = (0, Vec::new());
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut chunk).await {
        if count == 0 {
            return;
        }
        tail.extend_from_slice(&chunk[..count]);
        if let Some(round) = newest_round(&tail).filter(|round| *round > newest) {
            newest = round;
            let mut delays = delays.lock().unwrap();
            let delay = clock.instant() - delays.round_starts[round - 1];
            delays.delays.push(delay);
        }
        tail.drain(..tail.len().saturating_sub(32));
    }
}

/// The number of the last complete round in these bytes.
fn newest_round(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    text.rsplit("\"round\":")
        .find_map(|rest| rest.split_once(',')?.0.parse().ok())
}

/// A client that sends a request and does not read.
fn connect_non_reading(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    (&socket).write_all(STREAM_REQUEST).unwrap();
    socket
}

fn stream_client_count(service: &ServiceProcess) -> usize {
    service.metric("resumen_stream_clients") as usize
}

#[test]
#[ignore = "a measurement: takes half a minute and 4,000 descriptors"]
#[allow(clippy::print_stdout, reason = "a measurement")]
fn slow_stream_clients_delay_no_other() {
    let provider = FakeProvider::with_json(r#"{"round":0,"filler":""}"#);
    let folder = ServiceFolder::new(&format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\ninterval = \"1h\"\nmin_interval = \"1ms\"\n",
        provider.url()
    ));
    let service = folder.serve();
    let address = service.address();
    let clock = Clock::start();
    let delays = Arc::new(Mutex::new(DeliveryDelays::default()));
    let filler = "x".repeat(4000);
    let publish_round = |n: usize| {
        provider.set_json(&format!(r#"{{"round":{n},"filler":"{filler}"}}"#));
        delays.lock().unwrap().round_starts.push(clock.instant());
        assert_eq!(service.get("/resumen?fresh=1").status, 200);
    };
    publish_round(1);
    let before = resident_kib(service.process.pid());
    let runtime = Runtime::new().unwrap();
    let _non_reading: Vec<Socket> = (0..NON_READING_CLIENTS)
        .map(|_| connect_non_reading(address))
        .collect();
    for _ in 0..READING_CLIENTS {
        runtime.spawn(read_stream(address, clock, Arc::clone(&delays)));
    }
    let all_clients = READING_CLIENTS + NON_READING_CLIENTS;
    wait_until("all streams are open", || {
        stream_client_count(&service) == all_clients
    });
    delays.lock().unwrap().delays.clear();
    for n in 2..ROUND_COUNT {
        publish_round(n);
        std::thread::sleep(Duration::from_millis(100));
    }
    let bytes = (resident_kib(service.process.pid()) - before) * 1024 / all_clients;
    let open = stream_client_count(&service);
    let mut measured = std::mem::take(&mut delays.lock().unwrap().delays);
    measured.sort();
    let at = |share: f64| measured[(measured.len() as f64 * share) as usize];
    let (p50, p99, max) = (at(0.5), at(0.99), measured[measured.len() - 1]);
    println!(
        "{open} clients: {bytes} bytes each; {} events, p50 {p50:?}, p99 {p99:?}, max {max:?}",
        measured.len()
    );
    wait_until("the clients that do not read are closed", || {
        let rounds = delays.lock().unwrap().round_starts.len();
        publish_round(rounds + 1);
        stream_client_count(&service) == READING_CLIENTS
    });
    assert!(bytes < 32 * 1024, "{bytes} bytes each");
    let min_events = READING_CLIENTS * (ROUND_COUNT - 2) / 2;
    assert!(measured.len() >= min_events, "{} events", measured.len());
    assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
}
