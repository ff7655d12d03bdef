//! Clients by the hundred and by the thousand that mean no good. Each of these prints what it saw.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use resumen::config;
use resumen::process::Clock;
use rustix::io::ioctl_fionread;

use crate::http::{publish_readings, server_with_readings, start_server};
use crate::support::raw_client::RawHttpClient;
use crate::support::test_server::{TestServer, default_server_settings};

/// How many there are, and when they have to be gone.
struct SlowClientLoad {
    /// Of each kind: silent, one byte of a head at a time, half a head and no more.
    clients_per_kind: usize,
    /// Clients that ask for thousands of answers and take none. The kernel keeps some MiB for each.
    non_reading_clients: usize,
    /// Within this everybody is gone, from connecting on or since the last byte that it took.
    close_limit: Duration,
}

fn connect_nonblocking(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open_connections(client: &mut RawHttpClient) -> usize {
    let page = client.get("/metrics");
    page.text()
        .lines()
        .find_map(|line| line.strip_prefix("resumen_http_connections "))
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
#[ignore = "takes 20 s, 10,100 descriptors and half a GiB of the kernel's memory; prints figures"]
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
    let patience = Duration::from_secs(2);
    let impatient = start_server(config::ServerSettings {
        header_timeout: patience,
        idle_timeout: patience,
        ..default_server_settings()
    });
    publish_readings(&impatient);
    assert_slow_clients_are_closed(
        &impatient,
        &SlowClientLoad {
            clients_per_kind: 40,
            non_reading_clients: 4,
            close_limit: patience * 3,
        },
    );
}

#[allow(clippy::print_stderr, reason = "the figures are what it is for")]
fn assert_slow_clients_are_closed(served: &TestServer, size: &SlowClientLoad) {
    let clock = Clock::start();
    let mut good = served.connect_client();
    good.get("/resumen");
    let before = resident_kib();
    let mut crowd = SlowClients::connect_all(served.address, size);
    // Those who said that they send no more are gone already.
    let begun = clock.time_point();
    while open_connections(&mut good)
        < 3 * size.clients_per_kind - size.clients_per_kind / 2 + size.non_reading_clients + 1
    {
        assert!(
            clock.elapsed_since(begun) < size.close_limit,
            "they do not come in"
        );
    }
    let held = resident_kib().saturating_sub(before);
    let (mut answers, mut slowest, mut silent_gone, mut deaf_since) =
        (0, Duration::ZERO, None, begun);
    loop {
        if crowd.send_next_bytes() {
            deaf_since = clock.time_point();
        }
        for _ in 0..50 {
            let asked = clock.time_point();
            assert_eq!(good.get("/resumen").status, 200);
            slowest = slowest.max(clock.elapsed_since(asked));
            answers += 1;
        }
        let open = open_connections(&mut good);
        if open <= size.non_reading_clients + 1 && silent_gone.is_none() {
            silent_gone = Some(clock.elapsed_since(begun));
        }
        if open == 1 {
            break;
        }
        assert!(
            silent_gone.is_some() || clock.elapsed_since(begun) < size.close_limit,
            "{open} are still there"
        );
        assert!(
            clock.elapsed_since(deaf_since) < size.close_limit,
            "{open} are still there"
        );
    }
    let gone = clock.elapsed_since(deaf_since);
    assert!(
        crowd
            .silent
            .iter_mut()
            .all(|stream| !matches!(stream.read(&mut [0; 16]), Ok(1..)))
    );
    let kib = held as f64 / (3 * size.clients_per_kind + size.non_reading_clients) as f64;
    eprintln!(
        "{} silent and slow clients gone after {silent_gone:?}, {} that take nothing {gone:?} after the last byte that \
         their kernel took; {kib:.1} KiB each; meanwhile {answers} answers, the slowest after {slowest:?}",
        3 * size.clients_per_kind,
        size.non_reading_clients
    );
}

struct SlowClients {
    silent: Vec<TcpStream>,
    dripping: Vec<TcpStream>,
    /// Kept open.
    _half_heads: Vec<TcpStream>,
    /// With the bytes that wait for each to read them.
    non_reading: Vec<(TcpStream, u64)>,
    request: String,
}

impl SlowClients {
    fn connect_all(address: SocketAddr, size: &SlowClientLoad) -> Self {
        let many = |count| {
            (0..count)
                .map(|_| connect_nonblocking(address))
                .collect::<Vec<_>>()
        };
        let (silent, dripping, mut halves) = (
            many(size.clients_per_kind),
            many(size.clients_per_kind),
            many(size.clients_per_kind),
        );
        for half in &mut halves {
            half.write_all(b"GET /resumen HTTP/1.1\r\nHost: a\r\n")
                .unwrap();
        }
        for half in halves.iter().step_by(2) {
            half.shutdown(Shutdown::Write).unwrap();
        }
        let deaf = many(size.non_reading_clients)
            .into_iter()
            .map(|stream| (stream, 0))
            .collect();
        let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000);
        Self {
            silent,
            dripping,
            _half_heads: halves,
            non_reading: deaf,
            request,
        }
    }

    /// Everybody does what they do once more. Tells whether more has come for somebody who does not read: until nothing
    /// more fits, the service cannot know.
    fn send_next_bytes(&mut self) -> bool {
        for client in &mut self.dripping {
            // The service may have ended it.
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

/// What unfinished heads cost the service, beside what they weigh.
#[test]
#[allow(clippy::print_stderr, reason = "the figure is worth a line")]
fn partial_heads_use_bounded_memory() {
    let served = server_with_readings();
    let head = format!("GET /resumen?_={} HTTP/1.1\r\nX: ", "x".repeat(8 * 1024));
    served.connect_client().get("/resumen");
    let before = resident_kib();
    let mut clients: Vec<_> = (0..400).map(|_| served.connect_client()).collect();
    for client in &mut clients {
        client.send(&head);
    }
    let mut good = served.connect_client();
    while open_connections(&mut good) < clients.len() + 1 {}
    for _ in 0..200 {
        good.get("/resumen");
    }
    let growth = resident_kib().saturating_sub(before);
    let sent = clients.len() * head.len() / 1024;
    eprintln!("{sent} KiB of unfinished heads hold {growth} KiB");
    // Other tests run in this process; they hold little beside this.
    assert!(growth < 10 * sent, "{sent} KiB hold {growth} KiB");
}
