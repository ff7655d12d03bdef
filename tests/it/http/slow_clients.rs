//! Hundreds and thousands of slow clients. Each test prints its measurements.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use resumen::config;
use resumen::process::Clock;
use rustix::io::ioctl_fionread;

use crate::http::{publish_readings, server_with_readings, start_server};
use crate::support::process_usage::{metric_value, resident_kib};
use crate::support::raw_client::RawHttpClient;
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::wait::wait_until;

/// The number of clients and the time limit for closing them.
struct SlowClientLoad {
    /// Number of silent clients, of clients that send a head byte by byte, and of clients that send half
    /// a head.
    clients_per_kind: usize,
    /// Number of clients that send thousands of requests and read no response. The kernel buffers some
    /// MiB for each.
    non_reading_clients: usize,
    /// Time from the connection, or from the last byte that the client's kernel accepted, until the
    /// server has closed it.
    close_limit: Duration,
}

fn connect_nonblocking(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn own_resident_kib() -> usize {
    resident_kib(std::process::id())
}

fn open_connections(client: &mut RawHttpClient) -> usize {
    let page = client.get("/metrics");
    metric_value(page.text(), "resumen_http_connections").unwrap() as usize
}

#[test]
#[ignore = "a measurement: takes 20 s, 10,100 descriptors and 512 MiB of kernel memory"]
fn five_thousand_slow_clients_are_closed() {
    assert_slow_clients_are_closed(
        &server_with_readings(),
        &SlowClientLoad {
            clients_per_kind: 1600,
            non_reading_clients: 200,
            close_limit: Duration::from_secs(11),
        },
    );
}

#[test]
fn some_slow_clients_are_closed() {
    let timeout = Duration::from_secs(2);
    let server = start_server(config::ServerSettings {
        header_timeout: timeout,
        idle_timeout: timeout,
        ..default_server_settings()
    });
    publish_readings(&server);
    assert_slow_clients_are_closed(
        &server,
        &SlowClientLoad {
            clients_per_kind: 40,
            non_reading_clients: 4,
            close_limit: timeout * 3,
        },
    );
}

#[allow(clippy::print_stderr, reason = "prints measurements")]
fn assert_slow_clients_are_closed(server: &TestServer, load: &SlowClientLoad) {
    let clock = Clock::start();
    let mut client = server.connect_client();
    client.get("/resumen");
    let before = own_resident_kib();
    let mut clients = SlowClients::connect_all(server.address, load);
    // The server closes clients that sent FIN in the middle of a head at once.
    let start = clock.time_point();
    while open_connections(&mut client)
        < 3 * load.clients_per_kind - load.clients_per_kind / 2 + load.non_reading_clients + 1
    {
        assert!(
            clock.elapsed_since(start) < load.close_limit,
            "the clients are not accepted"
        );
    }
    let growth = own_resident_kib().saturating_sub(before);
    let (mut responses, mut slowest, mut silent_closed, mut last_accepted) =
        (0, Duration::ZERO, None, start);
    loop {
        if clients.send_next_bytes() {
            last_accepted = clock.time_point();
        }
        for _ in 0..50 {
            let sent_at = clock.time_point();
            assert_eq!(client.get("/resumen").status, 200);
            slowest = slowest.max(clock.elapsed_since(sent_at));
            responses += 1;
        }
        let open = open_connections(&mut client);
        if open <= load.non_reading_clients + 1 && silent_closed.is_none() {
            silent_closed = Some(clock.elapsed_since(start));
        }
        if open == 1 {
            break;
        }
        assert!(
            silent_closed.is_some() || clock.elapsed_since(start) < load.close_limit,
            "{open} connections are open"
        );
        assert!(
            clock.elapsed_since(last_accepted) < load.close_limit,
            "{open} connections are open"
        );
    }
    let closed = clock.elapsed_since(last_accepted);
    assert!(
        clients
            .silent
            .iter_mut()
            .all(|stream| !matches!(stream.read(&mut [0; 16]), Ok(1..)))
    );
    let kib = growth as f64 / (3 * load.clients_per_kind + load.non_reading_clients) as f64;
    eprintln!(
        "{} silent and slow clients closed after {silent_closed:?}, {} non-reading ones {closed:?} after the \
         last byte that their kernel accepted; {kib:.1} KiB each; meanwhile {responses} responses, the \
         slowest after {slowest:?}",
        3 * load.clients_per_kind,
        load.non_reading_clients
    );
}

struct SlowClients {
    silent: Vec<TcpStream>,
    dripping: Vec<TcpStream>,
    _half_heads: Vec<TcpStream>,
    /// Each with the number of bytes in its receive buffer.
    non_reading: Vec<(TcpStream, u64)>,
    request: String,
}

impl SlowClients {
    fn connect_all(address: SocketAddr, load: &SlowClientLoad) -> Self {
        let connect = |count| {
            (0..count)
                .map(|_| connect_nonblocking(address))
                .collect::<Vec<_>>()
        };
        let (silent, dripping, mut half_heads) = (
            connect(load.clients_per_kind),
            connect(load.clients_per_kind),
            connect(load.clients_per_kind),
        );
        for client in &mut half_heads {
            client
                .write_all(b"GET /resumen HTTP/1.1\r\nHost: a\r\n")
                .unwrap();
        }
        for client in half_heads.iter().step_by(2) {
            client.shutdown(Shutdown::Write).unwrap();
        }
        let non_reading = connect(load.non_reading_clients)
            .into_iter()
            .map(|stream| (stream, 0))
            .collect();
        let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000);
        Self {
            silent,
            dripping,
            _half_heads: half_heads,
            non_reading,
            request,
        }
    }

    /// Sends the next bytes of every client. Returns whether the kernel accepted more bytes for a
    /// non-reading client: only a full buffer blocks the server.
    fn send_next_bytes(&mut self) -> bool {
        for client in &mut self.dripping {
            // The server may have closed the connection.
            let _ = client.write(b"G");
        }
        let mut more = false;
        for (client, waiting) in &mut self.non_reading {
            let _ = client.write(self.request.as_bytes());
            let now = ioctl_fionread(&*client).unwrap();
            more |= now > *waiting;
            *waiting = now;
        }
        more
    }
}

/// Unfinished heads cost little more memory than their bytes.
#[test]
#[allow(clippy::print_stderr, reason = "prints a measurement")]
fn partial_heads_use_bounded_memory() {
    let server = server_with_readings();
    let head = format!("GET /resumen?_={} HTTP/1.1\r\nX: ", "x".repeat(8 * 1024));
    server.connect_client().get("/resumen");
    let before = own_resident_kib();
    let mut clients: Vec<_> = (0..400).map(|_| server.connect_client()).collect();
    for client in &mut clients {
        client.send(&head);
    }
    let mut client = server.connect_client();
    wait_until("all clients are accepted", || {
        open_connections(&mut client) > clients.len()
    });
    for _ in 0..200 {
        client.get("/resumen");
    }
    let growth = own_resident_kib().saturating_sub(before);
    let sent = clients.len() * head.len() / 1024;
    eprintln!("{sent} KiB of unfinished heads use {growth} KiB");
    // Other tests run in this process; they use little memory.
    assert!(growth < 10 * sent, "{sent} KiB use {growth} KiB");
}
