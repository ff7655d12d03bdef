//! Health checks are answered while clients of every kind occupy every connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{publish_readings, start_server};
use crate::support::http_reply::http_get;
use crate::support::raw_client::RawHttpClient;
use crate::support::test_server::default_server_settings;

/// Maximum number of connections of the server.
const MAX_CONNECTIONS: usize = 100;

/// Number of connections that the clients keep open, more than the places and the reserve.
const CLIENTS: usize = 200;

/// Number of health checks. Half of them must be answered within [`MAX_MEDIAN`], all but one within
/// [`MAX_LATENCY`]: the tests of a busy machine run beside this one.
const CHECKS: usize = 40;
const MAX_MEDIAN: Duration = Duration::from_millis(100);
const MAX_LATENCY: Duration = Duration::from_secs(1);

/// Time between two health checks.
const PAUSE: Duration = Duration::from_millis(50);

/// Clients that connect again as soon as the server has closed their connection.
struct ObstinateClients {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ObstinateClients {
    /// Each client sends `request` once, and reads unless it is a slow reader.
    fn start(address: SocketAddr, request: String, reads: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(address, &request)).collect();
            while !stopped.load(Relaxed) {
                for client in &mut clients {
                    if client
                        .as_mut()
                        .is_none_or(|stream| is_closed(stream, reads))
                    {
                        *client = connect(address, &request);
                    }
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for ObstinateClients {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

fn connect(address: SocketAddr, request: &str) -> Option<TcpStream> {
    // The queue of the server may be full.
    let mut stream = TcpStream::connect_timeout(&address, MAX_LATENCY).ok()?;
    stream.set_nonblocking(true).ok()?;
    // A slow reader's requests need not be taken whole.
    let _ = stream.write(request.as_bytes());
    Some(stream)
}

fn is_closed(stream: &mut TcpStream, reads: bool) -> bool {
    if !reads {
        // A reset shows without reading.
        return !matches!(stream.take_error(), Ok(None));
    }
    match stream.read(&mut [0; 4096]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the test measures the latency of the server"
)]
fn check_health_beside(request: &str, reads: bool) {
    let server = start_server(resumen::config::ServerSettings {
        max_connections: MAX_CONNECTIONS,
        ..default_server_settings()
    });
    publish_readings(&server);
    let _clients = ObstinateClients::start(server.address, request.to_owned(), reads);
    let address = server.address.to_string();
    let mut latencies: Vec<Duration> = (0..CHECKS)
        .map(|_| {
            let start = Instant::now();
            let reply = http_get(&address, "/salud");
            assert_eq!(reply.status, 200, "{reply:?}");
            let latency = start.elapsed();
            // The checks last as long as two periods of eviction.
            thread::sleep(PAUSE);
            latency
        })
        .collect();
    latencies.sort_unstable();
    assert!(latencies[CHECKS / 2] <= MAX_MEDIAN, "{latencies:?}");
    assert!(latencies[CHECKS - 2] <= MAX_LATENCY, "{latencies:?}");
}

#[test]
fn health_beside_unfinished_heads() {
    check_health_beside("GET /resumen HTTP/1.1\r\nHost: a\r\n", true);
}

#[test]
fn health_beside_silent_clients() {
    check_health_beside("", true);
}

#[test]
fn health_beside_non_readers() {
    let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
    check_health_beside(&request, false);
}

#[test]
fn health_beside_event_streams() {
    check_health_beside("GET /resumen/stream HTTP/1.1\r\nHost: a\r\n\r\n", true);
}

#[test]
fn health_beside_health_checks_left_open() {
    check_health_beside("GET /salud HTTP/1.1\r\nHost: a\r\n\r\n", true);
}

#[test]
fn requests_without_place_are_refused_whole() {
    let server = start_server(resumen::config::ServerSettings {
        max_connections: 1,
        ..default_server_settings()
    });
    publish_readings(&server);
    let mut stream = RawHttpClient::connect(server.address);
    stream.send("GET /resumen/stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(stream.read_head().0, 200);
    // Half of the reserve waits, the rest is refused where it is accepted.
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| RawHttpClient::connect(server.address))
        .collect();
    let method_of = |index: usize| {
        if index.is_multiple_of(2) {
            "GET"
        } else {
            "HEAD"
        }
    };
    for (index, client) in clients.iter_mut().enumerate() {
        let method = method_of(index);
        client.send(format!(
            "{method} /resumen?format=flat HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
    }
    let health = RawHttpClient::connect(server.address).get("/salud");
    assert_eq!(health.status, 200);
    for (index, client) in clients.iter_mut().enumerate() {
        let responses = client.read_responses_to_end(method_of(index));
        let [response] = &responses[..] else {
            panic!("{responses:?}");
        };
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("1"));
        if method_of(index) == "GET" {
            assert_eq!(response.json()["code"], "busy");
        }
    }
}
