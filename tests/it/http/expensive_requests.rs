//! Requests whose answers take long to make, as often as clients like: `/salud` must not wait for
//! them.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use crate::http::start_server;
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::wait::WAIT_LIMIT;

/// Kinds of expensive requests: target and headers. `#` becomes another digit in each request.
const EXPENSIVE_KINDS: [(&str, &str); 9] = [
    ("/resumen", ""),
    ("/resumen", "Accept-Encoding: br, identity;q=0\r\n"),
    ("/resumen", "Accept-Encoding: gzip\r\n"),
    ("/resumen?timeout=1.#", ""),
    ("/resumen?sources=btc&_=#", ""),
    (
        "/resumen?sources=usd,btc&timeout=2.#",
        "Accept-Encoding: gzip\r\n",
    ),
    ("/resumen?max_age=9999", ""),
    ("/metrics", ""),
    ("/salud/fuentes", ""),
];

/// How often `/salud` is asked beside each kind.
const HEALTH_REQUESTS: usize = 100;

/// How long it is asked at most: the refresher of this server does not run, and after 10 s without a
/// sign of life `/salud` says so.
const MAX_MEASURED_TIME: Duration = Duration::from_secs(5);

/// A server with this many bytes of data: numbers and a text.
fn server_with_data(bytes: usize) -> TestServer {
    let server = start_server(default_server_settings());
    let mut numbers = String::from("{\"n\":{");
    for n in 0.. {
        let _ = write!(numbers, "\"key{n}\":{n}.25,");
        if numbers.len() > bytes / 2 {
            break;
        }
    }
    let _ = write!(
        numbers,
        "\"last\":0}},\"text\":\"{}\"}}",
        "0123456789 ".repeat(bytes / 22)
    );
    server.publish_reading("btc", &numbers);
    server.publish_reading("clima", "{\"c\":21.3}");
    server.publish_reading("usd", "{\"ARS\":1043.50}");
    server
}

/// Clients that send expensive requests of one kind, each the next one as soon as it has an answer.
struct ExpensiveClients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<[usize; 2]>>,
}

impl ExpensiveClients {
    fn start(count: usize, address: SocketAddr, (target, headers): (&str, &str)) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let client = |number| {
            let (stop, target, headers) =
                (Arc::clone(&stop), target.to_owned(), headers.to_owned());
            spawn(move || {
                let mut counts = [0; 2];
                let mut connection = BufReader::new(TcpStream::connect(address).unwrap());
                for round in 0.. {
                    if stop.load(Relaxed) {
                        break;
                    }
                    let target = target.replace('#', &format!("{number}{round}"));
                    match ask(&mut connection, &target, &headers) {
                        Ok(200) => counts[0] += 1,
                        Ok(503) => counts[1] += 1,
                        // Different large answers for all clients exceed the send budget: the slowest are closed.
                        Err(_) => {
                            counts[1] += 1;
                            connection = BufReader::new(TcpStream::connect(address).unwrap());
                        }
                        Ok(status) => panic!("{status} for {target}"),
                    }
                }
                counts
            })
        };
        Self {
            clients: (0..count).map(client).collect(),
            stop,
        }
    }

    /// The number of good answers, and of those that refuse or are cut off.
    fn stop_and_count(self) -> [usize; 2] {
        self.stop.store(true, Relaxed);
        let counts = self
            .clients
            .into_iter()
            .map(|client| client.join().unwrap());
        counts.fold([0; 2], |sum, [good, busy]| [sum[0] + good, sum[1] + busy])
    }
}

/// Sends a request, discards the body of the answer, and returns its status. A 503 is `busy`.
fn ask(connection: &mut BufReader<TcpStream>, target: &str, headers: &str) -> io::Result<u16> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    connection.get_mut().write_all(request.as_bytes())?;
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if connection.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let status = head[9..12].parse().unwrap();
    if status == 503 {
        let mut problem = vec![0; length as usize];
        connection.read_exact(&mut problem)?;
        let is_busy = head.contains("retry-after: 1\r\n");
        assert!(is_busy, "{target}: {}", String::from_utf8_lossy(&problem));
        return Ok(status);
    }
    let read = io::copy(&mut connection.take(length), &mut io::sink())?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(status)
}

/// Asks `/salud` beside `count` clients of one kind. Returns the times of its answers, shortest first.
#[allow(clippy::print_stdout, reason = "prints a measurement")]
fn measure_health(server: &TestServer, count: usize, kind: (&str, &str)) -> Vec<Duration> {
    let clients = ExpensiveClients::start(count, server.address, kind);
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    let mut connection = BufReader::new(stream);
    let clock = server.core.clock;
    let begin = clock.time_point();
    let mut times: Vec<Duration> = (0..HEALTH_REQUESTS)
        .take_while(|_| clock.elapsed_since(begin) < MAX_MEASURED_TIME)
        .map(|_| {
            let start = clock.time_point();
            assert_eq!(ask(&mut connection, "/salud", "").unwrap(), 200);
            let time = clock.elapsed_since(start);
            std::thread::sleep(Duration::from_millis(5));
            time
        })
        .collect();
    times.sort_unstable();
    let [good, busy] = clients.stop_and_count();
    println!(
        "{kind:?}: /salud p50 {:?}, p90 {:?}, p99 {:?}; {good} answers, {busy} refused or closed",
        percentile(&times, 50),
        percentile(&times, 90),
        percentile(&times, 99)
    );
    assert!(good > 0, "{kind:?}");
    times
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[times.len() * percent / 100]
}

#[test]
fn expensive_requests_do_not_delay_health() {
    for kind in EXPENSIVE_KINDS {
        let server = server_with_data(1 << 20);
        let times = measure_health(&server, 32, kind);
        let p90 = percentile(&times, 90);
        assert!(p90 <= Duration::from_millis(100), "{kind:?}: {p90:?}");
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test it expensive -- --ignored --nocapture"]
fn large_snapshot_does_not_delay_health() {
    for kind in EXPENSIVE_KINDS {
        let server = server_with_data(8 << 20);
        let times = measure_health(&server, 64, kind);
        let p99 = percentile(&times, 99);
        assert!(p99 <= Duration::from_millis(100), "{kind:?}: {p99:?}");
    }
}

#[test]
fn large_response_awaits_no_delayed_ack() {
    let server = server_with_data(1 << 20);
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut connection = BufReader::new(stream);
    let clock = server.core.clock;
    let times = (0..20).map(|_| {
        let start = clock.time_point();
        ask(&mut connection, "/resumen", "").unwrap();
        clock.elapsed_since(start)
    });
    // The kernel delays acknowledgements by 40 ms, after some exchanges on a connection.
    let shortest = times.skip(10).min().unwrap();
    assert!(shortest < Duration::from_millis(40), "{shortest:?}");
}
