//! Clients by the thousand that mean no good. Each of these prints what it saw; none is run by default.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use resumen::clock::Clock;

use super::served;
use crate::support::client::Client;

/// How many of each kind there are: silent, one byte of a head at a time, half a head and no more.
const EACH: usize = 1600;

/// Clients that ask for a thousand answers and take none. The kernel keeps some MiB for each.
const DEAF: usize = 200;

/// Within this everybody is gone.
const LIMIT: Duration = Duration::from_secs(11);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn connections(client: &mut Client) -> usize {
    let page = client.get("/metrics");
    page.text().lines().find_map(|line| line.strip_prefix("resumen_http_connections ")).unwrap().parse().unwrap()
}

#[test]
#[ignore = "takes 12 s, 10,100 descriptors and half a GiB of the kernel's memory; prints figures"]
#[allow(clippy::print_stderr, reason = "the figures are what it is for")]
fn five_thousand_silent_or_slow_clients_are_gone_in_time_and_others_are_served() {
    let served = served();
    let clock = Clock::start();
    let mut good = served.client();
    good.get("/resumen");
    let before = resident_kib();
    let deaf = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000);
    let silent: Vec<_> = (0..EACH).map(|_| connect(served.address)).collect();
    let mut dripping: Vec<_> = (0..EACH).map(|_| connect(served.address)).collect();
    let mut halves: Vec<_> = (0..EACH).map(|_| connect(served.address)).collect();
    for half in &mut halves {
        half.write_all(b"GET /resumen HTTP/1.1\r\nHost: a\r\n").unwrap();
    }
    for half in halves.iter().step_by(2) {
        half.shutdown(Shutdown::Write).unwrap();
    }
    let mut deafs: Vec<_> = (0..DEAF).map(|_| connect(served.address)).collect();
    // Those who said that they send no more are gone already.
    while connections(&mut good) < 3 * EACH - EACH / 2 + DEAF + 1 {}
    let held = resident_kib().saturating_sub(before);
    let begun = clock.mark();
    let (mut answers, mut slowest, mut silent_gone, mut deaf_since) = (0, Duration::ZERO, None, begun);
    loop {
        for client in &mut dripping {
            // The service may have ended it.
            let _ = client.write(b"G");
        }
        for client in &mut deafs {
            // While the kernel takes more, the service may not have noticed that nobody reads.
            if matches!(client.write(deaf.as_bytes()), Ok(1..)) {
                deaf_since = clock.mark();
            }
        }
        for _ in 0..50 {
            let asked = clock.mark();
            assert_eq!(good.get("/resumen").status, 200);
            slowest = slowest.max(clock.since(asked));
            answers += 1;
        }
        let open = connections(&mut good);
        if open <= DEAF + 1 && silent_gone.is_none() {
            silent_gone = Some(clock.since(begun));
        }
        if open == 1 {
            break;
        }
        assert!(silent_gone.is_some() || clock.since(begun) < LIMIT, "{open} are still there");
        assert!(clock.since(deaf_since) < LIMIT, "{open} are still there");
    }
    let gone = clock.since(deaf_since);
    let mut ended = silent;
    let is_ended = |stream: &mut TcpStream| !matches!(stream.read(&mut [0; 16]), Ok(1..));
    assert!(ended.iter_mut().all(is_ended));
    let kib = held as f64 / (3 * EACH + DEAF) as f64;
    eprintln!(
        "{} silent and slow clients gone after {silent_gone:?}, {DEAF} that take nothing {gone:?} after their last byte; \
         {kib:.1} KiB each; meanwhile {answers} answers, the slowest after {slowest:?}",
        3 * EACH
    );
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
