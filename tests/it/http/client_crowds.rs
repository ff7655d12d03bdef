//! Ten thousand clients of each kind at once, in containers of two sizes and with snapshots of three.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use resumen::process::Clock;

use super::hostile_clients::{
    ClientKind, CrowdedService, FAST, LIVE, ROUTED, STREAM, start_client,
};
use crate::support::process_usage::resident_kib;
use crate::support::raw_client::RawHttpClient;

const CLIENTS: usize = 10_000;

const KINDS: [ClientKind; 10] = [
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
];

/// What the other clients saw beside a crowd.
#[derive(Debug, Default)]
struct Bystander {
    /// Time from the connection to the response of each request, in milliseconds.
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
    std::thread::spawn(move || {
        let (clock, mut seen) = (Clock::start(), Bystander::default());
        let mut kept = RawHttpClient::connect(address);
        while !stop.load(SeqCst) {
            let asked_at = clock.instant();
            let reply = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if is_new_each_time {
                    kept = RawHttpClient::connect(address);
                }
                kept.get(path).status
            }));
            match reply {
                Ok(200) => seen.times.push((clock.instant() - asked_at).as_millis()),
                other => {
                    *seen.failures.entry(format!("{other:?}")).or_default() += 1;
                    kept = RawHttpClient::connect(address);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        seen
    })
}

#[test]
#[ignore = "a measurement: takes minutes and 10,100 descriptors"]
#[allow(clippy::print_stderr, reason = "prints measurements")]
fn ten_thousand_of_each_kind_fit() {
    let only = std::env::var_os("RESUMEN_CROWD").unwrap_or_default();
    for (limit, data) in [
        (128 << 20, 2_000),
        (128 << 20, 100_000),
        (128 << 20, 1_000_000),
        (512 << 20, 2_000),
        (512 << 20, 100_000),
        (512 << 20, 1_000_000),
    ] {
        for kind in KINDS {
            if !format!("{kind:?}").contains(only.to_str().unwrap()) {
                continue;
            }
            let Some(crowded) = CrowdedService::start(limit, data) else {
                return;
            };
            let (clock, stop) = (Clock::start(), Arc::new(AtomicBool::new(false)));
            let health = request_until(&crowded, "/salud", true, &stop);
            let newcomer = request_until(&crowded, "/resumen", true, &stop);
            let poller = request_until(&crowded, "/resumen", false, &stop);
            let started_at = clock.instant();
            let (mut clients, mut refused, mut most) = (Vec::new(), 0, 0);
            for number in 0..CLIENTS {
                match start_client(crowded.service.address(), kind) {
                    Ok(client) => clients.push(client),
                    Err(_) => refused += 1,
                }
                if number % 500 == 0 {
                    most = most.max(resident_kib(crowded.service.process.pid()));
                }
            }
            let connected_after = clock.instant() - started_at;
            std::thread::sleep(Duration::from_secs(2));
            most = most.max(resident_kib(crowded.service.process.pid()));
            stop.store(true, SeqCst);
            let [mut health, mut newcomer, mut poller] =
                [health, newcomer, poller].map(|thread| thread.join().unwrap());
            eprintln!(
                "{} MiB, {data} B, {kind:?}: {connected_after:.1?}, {refused} refused, {} kills, {most} KiB; \
                 health p99 {} max {} ms {:?}; newcomer p99 {} max {} ms {:?}; poller max {} ms {:?}",
                limit >> 20,
                crowded.group.memory_kills(),
                health.percentile(0.99),
                health.percentile(1.0),
                health.failures,
                newcomer.percentile(0.99),
                newcomer.percentile(1.0),
                newcomer.failures,
                poller.percentile(1.0),
                poller.failures,
            );
        }
    }
}
