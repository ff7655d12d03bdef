//! Ten thousand clients of each kind at once, in containers of two sizes and with snapshots of three.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use resumen::process::Clock;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use super::hostile_clients::{ClientKind, CrowdedService, FAST, LIVE, ROUTED, STREAM};
use crate::support::polling_clients::read_one_response;
use crate::support::process_usage::resident_kib;

const CLIENTS: usize = 10_000;

const KINDS: [ClientKind; 18] = [
    ClientKind::SlowHead,
    ClientKind::SlowReader(FAST),
    ClientKind::SlowReader(ROUTED),
    ClientKind::SlowReader(LIVE),
    ClientKind::SlowReader(STREAM),
    ClientKind::Pipeliner(FAST),
    ClientKind::Pipeliner(ROUTED),
    ClientKind::KeepAlive(FAST),
    ClientKind::KeepAlive(ROUTED),
    ClientKind::KeepAlive("/metrics"),
    ClientKind::HalfHandshake,
    ClientKind::TlsSlowReader(FAST),
    ClientKind::TlsSlowReader(ROUTED),
    ClientKind::TlsSlowReader(STREAM),
    ClientKind::TlsKeepAlive(ROUTED),
    ClientKind::Http2Withheld(FAST),
    ClientKind::Http2Withheld(STREAM),
    ClientKind::Http2KeepAlive(FAST),
];

/// The time of `/salud`, 99 of 100 times, and until a new client has its answer, always, in milliseconds.
const HEALTH_AIM_MS: u128 = 100;
const NEWCOMER_AIM_MS: u128 = 2000;

/// What the other clients saw beside a crowd.
#[derive(Debug, Default)]
struct Bystander {
    /// Time from the first try to the response of each request, in milliseconds.
    times: Vec<u128>,
    failures: BTreeMap<String, usize>,
}

impl Bystander {
    fn percentile(&mut self, share: f64) -> u128 {
        self.times.sort_unstable();
        let last = self.times.len() - 1;
        self.times[(last as f64 * share).round() as usize]
    }
}

/// Sends requests for `path` until `stop`, each on a new connection or all on one.
fn request_until(
    crowded: &CrowdedService,
    path: &'static str,
    is_new_each_time: bool,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Bystander> {
    let (address, stop) = (crowded.service.address(), Arc::clone(stop));
    let config = crowded.client_config("http/1.1");
    let connect = move || -> io::Result<BufReader<Box<dyn ByteStream>>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let Some(config) = &config else {
            return Ok(BufReader::new(Box::new(stream)));
        };
        let session = ClientConnection::new(Arc::clone(config), address.ip().into()).unwrap();
        Ok(BufReader::new(Box::new(StreamOwned::new(session, stream))))
    };
    std::thread::spawn(move || {
        let (clock, mut seen) = (Clock::start(), Bystander::default());
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut kept, mut tried_since) = (None, None);
        while !stop.load(SeqCst) {
            let asked_at = *tried_since.get_or_insert_with(|| clock.instant());
            let mut ask = || {
                if is_new_each_time || kept.is_none() {
                    kept = Some(connect().map_err(|error| format!("connect: {error}"))?);
                }
                let stream = kept.as_mut().unwrap();
                let sent = stream.get_mut().write_all(request.as_bytes());
                sent.map_err(|error| format!("send: {error}"))?;
                read_one_response(stream)
            };
            match ask() {
                Ok(_) => {
                    seen.times.push((clock.instant() - asked_at).as_millis());
                    tried_since = None;
                }
                Err(error) => {
                    let first: String = error.chars().take(600).collect();
                    *seen.failures.entry(first).or_default() += 1;
                    kept = None;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        seen
    })
}

trait ByteStream: Read + Write + Send {}
impl<T: Read + Write + Send> ByteStream for T {}

/// Lets a crowd of this kind in. Returns the row of a table, and what misses its aim.
fn measure_crowd(limit: u64, data: usize, kind: ClientKind) -> Option<(String, Vec<String>)> {
    let crowded = CrowdedService::start(limit, data, kind.uses_tls())?;
    let pid = crowded.service.process.pid();
    let (clock, stop) = (Clock::start(), Arc::new(AtomicBool::new(false)));
    let health = request_until(&crowded, "/salud", true, &stop);
    let newcomer = request_until(&crowded, "/resumen", true, &stop);
    let poller = request_until(&crowded, "/resumen", false, &stop);
    // A poller holds its connection before the crowd comes.
    std::thread::sleep(Duration::from_millis(200));
    let started_at = clock.instant();
    let (crowd, mut clients, mut refused, mut most) = (crowded.crowd(kind), Vec::new(), 0, 0);
    for number in 0..CLIENTS {
        match crowd.start_client() {
            Ok(client) => clients.push(client),
            Err(_) => refused += 1,
        }
        if number % 500 == 0 {
            most = most.max(resident_kib(pid));
        }
    }
    let connected_after = clock.instant() - started_at;
    std::thread::sleep(Duration::from_secs(2));
    most = most.max(resident_kib(pid));
    stop.store(true, SeqCst);
    let [mut health, mut newcomer, poller] =
        [health, newcomer, poller].map(|thread| thread.join().unwrap());
    let (kills, peak) = (crowded.group.memory_kills(), crowded.group.peak_kib());
    let health_ms = health.percentile(0.99);
    let slowest_newcomer = newcomer.percentile(1.0);
    let row = format!(
        "| {} MiB | {data} B | {kind:?} | {connected_after:.1?} | {refused} | {kills} | {} MiB | {} MiB | \
         {health_ms} ms | {} ms | {slowest_newcomer} ms | {} | {} of {} |",
        limit >> 20,
        most >> 10,
        peak >> 10,
        health.percentile(1.0),
        newcomer.failures.values().sum::<usize>(),
        poller.failures.values().sum::<usize>(),
        poller.times.len(),
    );
    let mut missed = Vec::new();
    for (is_missed, what) in [
        (kills > 0, format!("{kills} kills")),
        (
            health_ms > HEALTH_AIM_MS,
            format!("health p99 {health_ms} ms"),
        ),
        (
            slowest_newcomer > NEWCOMER_AIM_MS,
            format!("newcomer {slowest_newcomer} ms"),
        ),
        (
            !health.failures.is_empty(),
            format!("health {:?}", health.failures),
        ),
        (
            !poller.failures.is_empty(),
            format!("poller {:?}", poller.failures),
        ),
    ] {
        if is_missed {
            missed.push(what);
        }
    }
    Some((row, missed))
}

/// `RESUMEN_CROWD` restricts it to kinds, `RESUMEN_CROWD_LIMIT` and `RESUMEN_CROWD_DATA` to a limit in
/// MiB and a size in bytes.
#[test]
#[ignore = "a measurement: takes minutes and 10,100 descriptors"]
#[allow(clippy::print_stderr, reason = "prints measurements")]
fn ten_thousand_of_each_kind_fit() {
    let wanted = |variable: &str, value: &str, is_part: bool| {
        let Some(only) = std::env::var_os(variable) else {
            return true;
        };
        only.to_str()
            .unwrap()
            .split(',')
            .any(|one| one == value || is_part && value.contains(one))
    };
    let mut missed = Vec::new();
    for limit in [128_u64, 512] {
        for data in [2_000, 100_000, 1_000_000] {
            for kind in KINDS {
                let name = format!("{kind:?}");
                if !wanted("RESUMEN_CROWD", &name, true)
                    || !wanted("RESUMEN_CROWD_LIMIT", &limit.to_string(), false)
                    || !wanted("RESUMEN_CROWD_DATA", &data.to_string(), false)
                {
                    continue;
                }
                let Some((row, flaws)) = measure_crowd(limit << 20, data, kind) else {
                    return;
                };
                eprintln!("{row} {flaws:?}");
                missed.extend(flaws.into_iter().map(|flaw| format!("{row}: {flaw}")));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
