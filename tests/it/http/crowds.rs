//! Clients by the hundred and by the thousand that mean no good. Each of these prints what it saw.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use resumen::clock::Clock;
use resumen::config;
use rustix::io::ioctl_fionread;

use super::{fill, serve_with, served};
use crate::support::client::Client;
use crate::support::stand::{Stand, settings};

/// How many there are, and when they have to be gone.
struct Size {
    /// Of each kind: silent, one byte of a head at a time, half a head and no more.
    each: usize,
    /// Clients that ask for thousands of answers and take none. The kernel keeps some MiB for each.
    deaf: usize,
    /// Within this everybody is gone, from connecting on or since the last byte that it took.
    limit: Duration,
}

fn connect(address: SocketAddr) -> TcpStream {
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

fn connections(client: &mut Client) -> usize {
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
fn five_thousand_silent_or_slow_clients_are_gone_in_time_and_others_are_served() {
    await_the_end(
        &served(),
        &Size {
            each: 1600,
            deaf: 200,
            limit: Duration::from_secs(11),
        },
    );
}

#[test]
fn a_few_silent_or_slow_clients_are_gone_in_time_and_others_are_served() {
    let patience = Duration::from_secs(2);
    let impatient = serve_with(config::Server {
        header_timeout: patience,
        idle_timeout: patience,
        ..settings()
    });
    fill(&impatient);
    await_the_end(
        &impatient,
        &Size {
            each: 40,
            deaf: 4,
            limit: patience * 3,
        },
    );
}

#[allow(clippy::print_stderr, reason = "the figures are what it is for")]
fn await_the_end(served: &Stand, size: &Size) {
    let clock = Clock::start();
    let mut good = served.client();
    good.get("/resumen");
    let before = resident_kib();
    let mut crowd = Crowd::gather(served.address, size);
    // Those who said that they send no more are gone already.
    let begun = clock.mark();
    while connections(&mut good) < 3 * size.each - size.each / 2 + size.deaf + 1 {
        assert!(clock.since(begun) < size.limit, "they do not come in");
    }
    let held = resident_kib().saturating_sub(before);
    let (mut answers, mut slowest, mut silent_gone, mut deaf_since) =
        (0, Duration::ZERO, None, begun);
    loop {
        if crowd.torment() {
            deaf_since = clock.mark();
        }
        for _ in 0..50 {
            let asked = clock.mark();
            assert_eq!(good.get("/resumen").status, 200);
            slowest = slowest.max(clock.since(asked));
            answers += 1;
        }
        let open = connections(&mut good);
        if open <= size.deaf + 1 && silent_gone.is_none() {
            silent_gone = Some(clock.since(begun));
        }
        if open == 1 {
            break;
        }
        assert!(
            silent_gone.is_some() || clock.since(begun) < size.limit,
            "{open} are still there"
        );
        assert!(
            clock.since(deaf_since) < size.limit,
            "{open} are still there"
        );
    }
    let gone = clock.since(deaf_since);
    assert!(
        crowd
            .silent
            .iter_mut()
            .all(|stream| !matches!(stream.read(&mut [0; 16]), Ok(1..)))
    );
    let kib = held as f64 / (3 * size.each + size.deaf) as f64;
    eprintln!(
        "{} silent and slow clients gone after {silent_gone:?}, {} that take nothing {gone:?} after the last byte that \
         their kernel took; {kib:.1} KiB each; meanwhile {answers} answers, the slowest after {slowest:?}",
        3 * size.each,
        size.deaf
    );
}

struct Crowd {
    silent: Vec<TcpStream>,
    dripping: Vec<TcpStream>,
    /// Kept open.
    _halves: Vec<TcpStream>,
    /// With the bytes that wait for each to read them.
    deaf: Vec<(TcpStream, u64)>,
    request: String,
}

impl Crowd {
    fn gather(address: SocketAddr, size: &Size) -> Self {
        let many = |count| (0..count).map(|_| connect(address)).collect::<Vec<_>>();
        let (silent, dripping, mut halves) = (many(size.each), many(size.each), many(size.each));
        for half in &mut halves {
            half.write_all(b"GET /resumen HTTP/1.1\r\nHost: a\r\n")
                .unwrap();
        }
        for half in halves.iter().step_by(2) {
            half.shutdown(Shutdown::Write).unwrap();
        }
        let deaf = many(size.deaf)
            .into_iter()
            .map(|stream| (stream, 0))
            .collect();
        let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000);
        Self {
            silent,
            dripping,
            _halves: halves,
            deaf,
            request,
        }
    }

    /// Everybody does what they do once more. Tells whether more has come for somebody who does not read: until nothing
    /// more fits, the service cannot know.
    fn torment(&mut self) -> bool {
        for client in &mut self.dripping {
            // The service may have ended it.
            let _ = client.write(b"G");
        }
        let mut more = false;
        for (client, waiting) in &mut self.deaf {
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
fn unfinished_heads_cost_at_most_ten_times_their_bytes() {
    let served = served();
    let head = format!("GET /resumen?_={} HTTP/1.1\r\nX: ", "x".repeat(8 * 1024));
    served.client().get("/resumen");
    let before = resident_kib();
    let mut clients: Vec<_> = (0..400).map(|_| served.client()).collect();
    for client in &mut clients {
        client.send(&head);
    }
    let mut good = served.client();
    while connections(&mut good) < clients.len() + 1 {}
    for _ in 0..200 {
        good.get("/resumen");
    }
    let growth = resident_kib().saturating_sub(before);
    let sent = clients.len() * head.len() / 1024;
    eprintln!("{sent} KiB of unfinished heads hold {growth} KiB");
    // Other tests run in this process; they hold little beside this.
    assert!(growth < 10 * sent, "{sent} KiB hold {growth} KiB");
}
